"""botocore's model of an API is the judge: of what we are asked, and of what we answer."""

import datetime
import json

import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.validate


class Shapes:
    """The model of one API of the JSON protocol."""

    def __init__(self, service):
        loader = botocore.loaders.Loader()
        self.model = botocore.model.ServiceModel(loader.load_service_model(service, "service-2"), service)
        self._check = botocore.validate.ParamValidator()
        self._parse = botocore.parsers.create_parser("json")

    def knows(self, operation):
        return operation in self.model.operation_names

    def question(self, operation, asked):
        """What is wrong with the fields of a request, or None."""
        return self._faults(asked, self.model.operation_model(operation).input_shape)

    def answer(self, operation, answer):
        """An answer as JSON, and what is wrong with it or None: its fields, or that it reads back as another."""
        shape = self.model.operation_model(operation).output_shape
        body = json.dumps(answer, default=seconds).encode()
        if shape is None:
            return body, None
        fault = self._faults(answer, shape)
        if fault is None:
            read = self._parse.parse({"status_code": 200, "headers": {}, "body": body}, shape)
            read.pop("ResponseMetadata", None)
            if not same(answer, read):
                fault = "the answer reads back as something else"
        return body, fault

    def _faults(self, value, shape):
        report = self._check.validate(value, shape)
        return report.generate_report() if report.has_errors() else None


def seconds(value):
    """Times are numbers in the API's JSON."""
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    raise TypeError(f"{value!r} has no place in JSON")


def same(left, right):
    if isinstance(left, datetime.datetime):
        return abs((left - right).total_seconds()) < 0.002
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right
