#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The JSON Schema of policies gives the same verdict on structure as the engine.

Runs data/policy.schema.json over the corpus that test-policy-documents runs through the engine, and over the examples. Prints TAP.
Cases marked "meaning" are wrong in what they say, not in their structure: the schema takes them, the engine does not.
"""

import glob
import json
import os
import re
import sys

import jsonschema

SOURCE = os.environ.get("srcdir", ".")


def cases():
    """(name, document, whether the schema should take it) of everything there is."""
    for verdict in ("good", "bad"):
        for path in sorted(glob.glob(f"{SOURCE}/tests/unit/policies/{verdict}/*.json")):
            with open(path, encoding="utf-8") as file:
                for case in json.load(file):
                    name = f"{verdict}/{os.path.basename(path)[:-5]}: {case['case']}"
                    yield name, case["document"], verdict == "good" or case.get("meaning", False)
    for path in sorted(glob.glob(f"{SOURCE}/examples/policies/*.json")):
        if not path.endswith(".cases.json"):
            with open(path, encoding="utf-8") as file:
                yield f"examples: {os.path.basename(path)}", json.load(file), True


def errors_of_the_table():
    with open(f"{SOURCE}/policy/error.def", encoding="utf-8") as file:
        rows = re.findall(r'^ERROR\(\w+, "(\w+)", (\w+)', file.read(), re.MULTILINE)
    return [name for name, error_class in rows if error_class != "NONE"]


def main():
    with open(f"{SOURCE}/data/policy.schema.json", encoding="utf-8") as file:
        schema = json.load(file)
    results = []

    def report(good, name):
        results.append(good)
        print(f"{'ok' if good else 'not ok'} {len(results)} - policy-schema: {name}", flush=True)

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
        report(True, "it is a JSON Schema 2020-12")
    except jsonschema.SchemaError as error:
        print(f"# {error.message}")
        report(False, "it is a JSON Schema 2020-12")
    report(schema["$defs"]["error"]["enum"] == errors_of_the_table(), "it knows the errors of the table")
    validator = jsonschema.Draft202012Validator(schema)
    for name, document, expected in cases():
        report(validator.is_valid(document) == expected, name)
    print(f"1..{len(results)}")
    return 0 if all(results) and len(results) > 200 else 1


if __name__ == "__main__":
    sys.exit(main())
