"""Which container of a task waits for which. Pure."""

START, COMPLETE, SUCCESS, HEALTHY = "START", "COMPLETE", "SUCCESS", "HEALTHY"


def dependencies(definition):
    """What each container waits for: name -> [(name, condition)]; a link waits for the start of its target."""
    containers = definition["containerDefinitions"]
    names = {container["name"] for container in containers}
    found = {}
    for container in containers:
        pairs = [(one["containerName"], one["condition"]) for one in container.get("dependsOn", [])]
        pairs += [(link.partition(":")[0], START) for link in container.get("links", [])]
        unknown = [name for name, _ in pairs if name not in names]
        if unknown:
            raise ValueError(f"{container['name']} depends on {unknown[0]}, which is not in the task")
        found[container["name"]] = pairs
    return found


def met(condition, state):
    """Whether what is waited for has come: True, False for never, None for not yet.

    `state` has `started` and `ended` (bools), `exit` (code) and `health`. As the agent has it, nobody gives up on one
    that is not healthy: only `startTimeout` ends that.
    """
    if state.ended and not state.started:
        return False
    if condition == START:
        return True if state.started else None
    if condition == HEALTHY:
        return True if state.health == "HEALTHY" else None
    if not state.ended:
        return None
    return condition == COMPLETE or state.exit == 0


def time_left(condition, state, now):
    """Seconds until `startTimeout` of what is waited for is over, which counts from its own start; None: no limit."""
    limit = state.spec.get("startTimeout")
    if condition == START or not limit or not state.started or state.ended:
        return None
    return state.started_at + limit - now


def dependents(wanted, name):
    """Who waits for it directly: these stop first."""
    return [other for other, pairs in wanted.items() if any(on == name for on, _ in pairs)]
