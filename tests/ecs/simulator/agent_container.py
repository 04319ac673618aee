"""What a container definition is to the Docker Engine, and what ECS refuses to start.

Pure, but for this machine's own limit of open files.
"""

import resource

# What containers of a Fargate task may add.
FARGATE_MAY_ADD = {"SYS_PTRACE"}
# Open files on Fargate, where the definition says nothing.
FARGATE_FILES = 65535
# ECS's defaults of a health check, in seconds.
HEALTH = {"interval": 30, "timeout": 5, "retries": 3, "startPeriod": 0}
STOP_TIMEOUT = 30
NOT_ON_FARGATE = ("links", "extraHosts", "dnsServers", "dnsSearchDomains", "disableNetworking", "dockerSecurityOptions")
NOT_IN_AWSVPC = ("links", "extraHosts", "hostname")


def is_fargate(task):
    return task.get("launchType") == "FARGATE"


def refusal(task, definition):
    """Why ECS would not start this task; none if it would."""
    mode = definition.get("networkMode", "bridge")
    fargate = is_fargate(task)
    if fargate and mode != "awsvpc":
        return f"Fargate only supports network mode awsvpc, not {mode}"
    if mode not in ("awsvpc", "bridge", "host"):
        return f"network mode {mode} is not simulated"
    if definition.get("pidMode", "host") != "host" or "pidMode" in definition and fargate:
        return f"pidMode {definition['pidMode']} is not simulated, or not there on Fargate"
    if "proxyConfiguration" in definition and mode != "awsvpc":
        return "proxyConfiguration needs network mode awsvpc"
    for volume in definition.get("volumes", []):
        if fargate and volume.get("host", {}).get("sourcePath"):
            return f"volume {volume['name']}: host.sourcePath should not be set on Fargate"
        if "efsVolumeConfiguration" in volume or "dockerVolumeConfiguration" in volume:
            return f"volume {volume['name']}: only bind mounts are simulated"
    for container in definition["containerDefinitions"]:
        reason = _container_refusal(container, fargate, mode)
        if reason:
            return f"container {container['name']}: {reason}"
    return None


def _container_refusal(container, fargate, mode):
    capabilities = container.get("linuxParameters", {}).get("capabilities", {})
    added = set(capabilities.get("add") or [])
    if fargate and added - FARGATE_MAY_ADD:
        return f"capabilities {sorted(added - FARGATE_MAY_ADD)} cannot be added on Fargate"
    if fargate and container.get("privileged"):
        return "privileged is not there on Fargate"
    banned = NOT_ON_FARGATE if fargate else ()
    for key in banned + (NOT_IN_AWSVPC if mode == "awsvpc" else ()):
        if container.get(key):
            return f"{key} is not there in network mode {mode}{' on Fargate' if fargate else ''}"
    if container.get("secrets") or container.get("environmentFiles"):
        return "secrets and environmentFiles are not simulated"
    return None


def health(container):
    """The check in the task definition with ECS's defaults; none where there is none."""
    check = container.get("healthCheck")
    return {**HEALTH, **check} if check else None


def stop_timeout(container):
    return container.get("stopTimeout", STOP_TIMEOUT)


def body(container, override, environment, labels, network, volumes, fargate):
    """What `POST /containers/create` takes.

    `override` is of the call that started the task; `environment` what ECS adds; `volumes` the engine's source of each
    volume of the task, by name.
    """
    sizes = ("cpu", "memory", "memoryReservation")
    container = {**container, **{name: override[name] for name in sizes if name in override}}
    linux = container.get("linuxParameters", {})
    capabilities = linux.get("capabilities", {})
    pairs = {one["name"]: one["value"] for one in container.get("environment", [])}
    pairs |= {one["name"]: one["value"] for one in override.get("environment", [])}
    host = {
        "NetworkMode": network,
        "Binds": [_bind(mount, volumes) for mount in container.get("mountPoints", [])],
        "CapAdd": capabilities.get("add") or [],
        "CapDrop": capabilities.get("drop") or [],
        "ReadonlyRootfs": container.get("readonlyRootFilesystem", False),
        "Privileged": container.get("privileged", False),
        "Init": linux.get("initProcessEnabled", False),
        "Ulimits": _ulimits(container, fargate),
        "Tmpfs": {one["containerPath"]: f"size={one['size']}m" for one in linux.get("tmpfs", [])},
        "ExtraHosts": [f"{one['hostname']}:{one['ipAddress']}" for one in container.get("extraHosts", [])],
        "CpuShares": max(container.get("cpu", 0), 2),
        "Memory": container.get("memory", 0) << 20,
        "MemoryReservation": container.get("memoryReservation", 0) << 20,
    }
    made = {
        "Image": container["image"],
        "Env": [f"{name}={value}" for name, value in (pairs | environment).items()],
        "Labels": {**container.get("dockerLabels", {}), **labels},
        # An image's own check is nothing to ECS.
        "Healthcheck": {"Test": ["NONE"]},
        "Tty": container.get("pseudoTerminal", False),
        "OpenStdin": container.get("interactive", False),
        "HostConfig": host,
    }
    command = override.get("command") or container.get("command")
    for key, value in (
        ("Entrypoint", container.get("entryPoint")),
        ("Cmd", command),
        ("User", container.get("user")),
        ("WorkingDir", container.get("workingDirectory")),
    ):
        if value:
            made[key] = value
    return made


def _bind(mount, volumes):
    mode = "ro" if mount.get("readOnly") else "rw"
    return f"{volumes[mount['sourceVolume']]}:{mount['containerPath']}:{mode}"


def _ulimits(container, fargate):
    said = {one["name"]: (one["softLimit"], one["hardLimit"]) for one in container.get("ulimits", [])}
    if fargate:
        said.setdefault("nofile", (FARGATE_FILES, FARGATE_FILES))
    # Where the machine that plays the instance is itself limited, nothing on it can have more.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if "nofile" in said and most != resource.RLIM_INFINITY:
        said["nofile"] = tuple(min(limit, most) for limit in said["nofile"])
    return [{"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in said.items()]
