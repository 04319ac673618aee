"""Credentials of tasks' roles, issued here: the agent hands them out, STS knows them again."""

import datetime
import secrets

# How long they are good for.
LIFETIME = 6 * 3600.0


class Issuer:
    """Credentials by access key."""

    def __init__(self, world):
        self.world = world
        self.issued = {}

    def issue(self, task, lifetime=LIFETIME, role=None):
        """New credentials for a task (its ARN), in the shape that the credentials endpoint answers."""
        with self.world.lock:
            record = self.world.find("task", task)
            definition = self.world.find("definition", record["taskDefinitionArn"])
            role = role or definition.get("taskRoleArn")
            if role is None:
                raise ValueError(f"{definition['taskDefinitionArn']} has no task role")
            ends = self.world.clock.now() + lifetime
            expires = datetime.datetime.fromtimestamp(ends, datetime.timezone.utc)
            given = {
                "AccessKeyId": "ASIA" + secrets.token_hex(8).upper(),
                "SecretAccessKey": secrets.token_urlsafe(30),
                "Token": secrets.token_urlsafe(120),
                "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "RoleArn": role,
            }
            self.issued[given["AccessKeyId"]] = {
                **given, "ends": ends, "revoked": False, "session": task.rsplit("/", 1)[-1],
            }
            return given

    def revoke(self, access_key):
        self.issued[access_key]["revoked"] = True
