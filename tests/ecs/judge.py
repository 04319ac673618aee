"""moto as the judge of shapes: the same calls go to moto and to the simulator, and what both answer must have the same
fields of the same types, and the same errors, but for what `LACKS` and `EXPECTED` state.

STS is asked as botocore asks it, with good and bad credentials.

`python judge.py URL` (of a running simulator); says what differs and exits 1 where something unexpected does.
"""

import json
import os
import re
import sys
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws

os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="eu-central-1")
ROLE = "arn:aws:iam::123456789012:role/cart"
# moto 5.2.1's known weaknesses. Fields that it leaves out, though botocore's model and AWS's examples have them: the
# beginnings of their paths, after the cluster, definition, service or task that they are of.
LACKS = {
    "cluster": "capacityProviders defaultCapacityProviderStrategy statistics tags",
    "taskDefinition": "containerDefinitions[].portMappings[].hostPort containerDefinitions[].portMappings[].protocol "
                      "containerDefinitions[].systemControls registeredAt registeredBy requiresAttributes "
                      "deregisteredAt",
    "service": "availabilityZoneRebalancing createdAt createdBy deploymentConfiguration deployments[].platformVersion "
               "enableECSManagedTags enableExecuteCommand placementConstraints placementStrategy platformFamily "
               "platformVersion roleArn",
    "task": "attributes availabilityZone connectivity connectivityAt containers[].networkInterfaces[] cpu createdAt "
            "enableExecuteCommand ephemeralStorage fargateEphemeralStorage healthStatus memory "
            "overrides.containerOverrides overrides.inferenceAcceleratorOverrides platformFamily platformVersion "
            "stopCode stoppingAt version",
}
# What else differs: (operation or empty, beginning of the path, reason).
EXPECTED = [
    ("register_task_definition", ".tags", "moto answers no tags, ECS does"),
    ("describe_task_definition", ".tags", "moto answers no list where there are none"),
    ("describe_tasks", ".failures[]", "moto is silent about tasks that it does not know"),
    ("", ".service.taskSets", "ECS shows task sets with an EXTERNAL deployment controller alone"),
    ("", ".services[].taskSets", "ECS shows task sets with an EXTERNAL deployment controller alone"),
    ("update_service", ".service.tags", "ECS shows tags where they are asked for"),
    ("", "containers[].cpu", "moto's is a number, the model's a text"),
    ("", "containers[].memory", "moto's is a number, the model's a text"),
    ("", "containers[].exitCode", "moto's containers have one before they end"),
    ("", "stoppedReason", "moto's is empty before a stop, ECS has none"),
]


def definition(family):
    return {
        "family": family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "512",
        "memory": "1024",
        "taskRoleArn": ROLE,
        "executionRoleArn": ROLE,
        "volumes": [{"name": "run"}],
        "tags": [{"key": "team", "value": "shop"}],
        "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
        "proxyConfiguration": {
            "type": "APPMESH",
            "containerName": "outrigger-sidecar",
            "properties": [
                {"name": "IgnoredUID", "value": "61337"},
                {"name": "ProxyEgressPort", "value": "15001"},
                {"name": "ProxyIngressPort", "value": "15006"},
                {"name": "AppPorts", "value": "8080"},
            ],
        },
        "containerDefinitions": [
            {
                "name": "app",
                "image": "app:1",
                "memory": 256,
                "portMappings": [{"containerPort": 8080, "name": "http", "appProtocol": "http"}],
                "dependsOn": [{"containerName": "outrigger-sidecar", "condition": "HEALTHY"}],
                "environment": [{"name": "A", "value": "b"}],
                "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "shop"}},
            },
            {
                "name": "outrigger-sidecar",
                "image": "outrigger-sidecar:0.1.0",
                "essential": True,
                "memory": 128,
                "user": "61337",
                "stopTimeout": 60,
                "dockerLabels": {"outrigger.managed": "sidecar"},
                "healthCheck": {"command": ["CMD", "/outrigger-sidecar", "health"], "interval": 5},
                "mountPoints": [{"sourceVolume": "run", "containerPath": "/run/outrigger"}],
                "ulimits": [{"name": "nofile", "softLimit": 65535, "hardLimit": 65535}],
                "linuxParameters": {"initProcessEnabled": True},
            },
        ],
    }


def network(subnet):
    return {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [], "assignPublicIp": "DISABLED"}}


def calls(ecs, subnet):
    """The calls in order: (name, answer or the error's code)."""
    seen = []

    def call(operation, **asked):
        try:
            answer = getattr(ecs, operation)(**asked)
            answer.pop("ResponseMetadata")
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            answer = {"error": error.response["Error"]["Code"], "status": status}
        seen.append((operation, answer))
        return answer

    call("create_cluster", clusterName="shop", tags=[{"key": "a", "value": "b"}])
    call("list_clusters")
    call("describe_clusters", clusters=["shop", "missing"])
    for _ in range(2):
        call("register_task_definition", **definition("cart"))
    call("describe_task_definition", taskDefinition="cart:1", include=["TAGS"])
    call("describe_task_definition", taskDefinition="cart")
    call("describe_task_definition", taskDefinition="missing")
    call("list_task_definitions", familyPrefix="cart")
    call("list_task_definition_families", familyPrefix="cart")
    made = call("create_service", cluster="shop", serviceName="cart", taskDefinition="cart:1", desiredCount=2,
                launchType="FARGATE", networkConfiguration=network(subnet),
                tags=[{"key": "outrigger:inject", "value": "true"}],
                deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}})
    service = made["service"]["serviceArn"]
    call("list_services", cluster="shop")
    call("describe_services", cluster="shop", services=["cart", "missing"], include=["TAGS"])
    call("update_service", cluster="shop", service="cart", taskDefinition="cart:2", desiredCount=3)
    call("update_service", cluster="shop", service="missing", desiredCount=3)
    ran = call("run_task", cluster="shop", taskDefinition="cart:1", launchType="FARGATE", count=2, startedBy="judge",
               networkConfiguration=network(subnet), tags=[{"key": "a", "value": "b"}])
    arns = [task["taskArn"] for task in ran["tasks"]]
    call("list_tasks", cluster="shop", family="cart")
    call("describe_tasks", cluster="shop", tasks=[*arns, "0" * 32], include=["TAGS"])
    call("stop_task", cluster="shop", task=arns[0], reason="enough")
    call("tag_resource", resourceArn=service, tags=[{"key": "c", "value": "d"}])
    call("list_tags_for_resource", resourceArn=service)
    call("untag_resource", resourceArn=service, tagKeys=["c"])
    call("deregister_task_definition", taskDefinition="cart:1")
    call("list_tasks", cluster="missing")
    return seen


def signed(url, region="eu-central-1", **changed):
    """What STS says to a task: its ARN's end, or the error's code. botocore signs."""
    task = order(url, "run", taskDefinition="cart:2", launchType="FARGATE", networkConfiguration=network("subnet-a"))
    given = order(url, "credentials", task=task["tasks"][0]["taskArn"], lifetime=changed.pop("lifetime", 3600))
    if changed.pop("revoked", False):
        order(url, "revoke", access_key=given["AccessKeyId"])
    given.update(changed)
    sts = boto3.client("sts", endpoint_url=url, region_name=region, aws_access_key_id=given["AccessKeyId"],
                       aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["Token"],
                       config=Config(retries={"max_attempts": 0}))
    try:
        return sts.get_caller_identity()["Arn"].rsplit("/", 1)[0].rsplit(":", 1)[1]
    except ClientError as error:
        return error.response["Error"]["Code"]


def order(url, path, **asked):
    request = urllib.request.Request(f"{url}/sim/{path}", data=json.dumps(asked).encode())
    return json.load(urllib.request.urlopen(request))


def sts_faults(url):
    """Where STS does not answer as AWS's does."""
    order(url, "definition", **definition("cart"))
    cases = [
        ("assumed-role/cart", {}),
        ("SignatureDoesNotMatch", {"SecretAccessKey": "other"}),
        ("InvalidClientTokenId", {"Token": "other"}),
        ("InvalidClientTokenId", {"AccessKeyId": "ASIAOTHER"}),
        ("InvalidClientTokenId", {"revoked": True}),
        ("ExpiredToken", {"lifetime": 0}),
        ("SignatureDoesNotMatch", {"region": "us-east-1"}),
    ]
    return [f"sts {case}: {seen}, not {wanted}" for wanted, case in cases if (seen := signed(url, **case)) != wanted]


def paths(value, at=""):
    """Paths of all fields with their types; those of a list's items come together. Values of errors are kept."""
    if isinstance(value, dict):
        found = {at: "object"} if at else {}
        for name, one in value.items():
            found.update(paths(one, f"{at}.{name}"))
        return found
    if isinstance(value, list):
        found = {at: "list"}
        for one in value:
            found.update(paths(one, f"{at}[]"))
        return found
    if at in (".error", ".status"):
        return {at: str(value)}
    return {at: type(value).__name__}


def differences(moto, ours):
    found = []
    for (operation, theirs), (_, answer) in zip(moto, ours, strict=True):
        left, right = paths(theirs), paths(answer)
        for at in sorted(left.keys() | right.keys()):
            if left.get(at) != right.get(at):
                found.append((operation, at, left.get(at), right.get(at)))
    return found


def reason(operation, at, theirs):
    """Why a difference is as it should be, or None."""
    what = re.match(r"\.(cluster|taskDefinition|service|task)s?(?:\[\])?\.(.*)", at)
    if theirs is None and what and any(what[2].startswith(name) for name in LACKS[what[1]].split()):
        return "moto lacks it"
    inner = at.split("[].", 1)[-1] if at.startswith(".tasks[].") else at.removeprefix(".task.")
    begins = (why for of, path, why in EXPECTED
              if of in ("", operation) and (at.startswith(path) or inner.startswith(path)))
    return next(begins, None)


def main():
    with mock_aws():
        ec2 = boto3.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        moto = calls(boto3.client("ecs"), subnet)
    once = Config(retries={"max_attempts": 0})
    ours = calls(boto3.client("ecs", endpoint_url=sys.argv[1], config=once), "subnet-a")
    unexpected = 0
    for operation, at, theirs, answer in differences(moto, ours):
        why = reason(operation, at, theirs)
        if why is None:
            unexpected += 1
            print(f"{operation} {at}: moto {theirs}, simulator {answer}")
    for fault in sts_faults(sys.argv[1]):
        unexpected += 1
        print(fault)
    print(f"{len(moto)} calls compared, {unexpected} unexpected differences")
    sys.exit(1 if unexpected else 0)


if __name__ == "__main__":
    main()
