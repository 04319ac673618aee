"""Errors as ECS answers them."""


class Refused(Exception):
    """An error of the API: its code, its message, its HTTP status."""

    def __init__(self, code, message, status=400):
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


def client(message):
    return Refused("ClientException", message)


def parameter(message):
    return Refused("InvalidParameterException", message)
