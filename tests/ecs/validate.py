"""Holds JSON files against botocore's model of an operation's input.

    python validate.py ecs RegisterTaskDefinition FILE...

Names, types, required members, ranges (botocore's own check), and enums, which botocore leaves to the service. Prints each
fault; exits with 1 where there is any.
"""

import json
import sys

import botocore.session
from botocore.validate import ParamValidator


def enums(value, shape, path):
    """Faults of values that are not among those that the model lists."""
    if shape.type_name == "structure" and isinstance(value, dict):
        for key, field in value.items():
            if key in shape.members:
                yield from enums(field, shape.members[key], f"{path}.{key}")
    elif shape.type_name == "list" and isinstance(value, list):
        for at, item in enumerate(value):
            yield from enums(item, shape.member, f"{path}[{at}]")
    elif shape.type_name == "map" and isinstance(value, dict):
        for key, item in value.items():
            yield from enums(item, shape.value, f"{path}.{key}")
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{path}: {value!r} is none of {', '.join(shape.enum)}"


def main():
    service, operation, *files = sys.argv[1:]
    model = botocore.session.Session().get_service_model(service)
    shape = model.operation_model(operation).input_shape
    bad = 0
    for file in files:
        with open(file, encoding="utf-8") as opened:
            given = json.load(opened)
        faults = list(enums(given, shape, ""))
        report = ParamValidator().validate(given, shape)
        if report.has_errors():
            faults.append(report.generate_report())
        for fault in faults:
            bad += 1
            print(f"{file}: {fault}")
    print(f"{len(files)} held against {operation}, {bad} faults")
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main())
