"""Cloud Map: what moto answers, behind the same trouble and the same judge of shapes as the other APIs. Tests register instances
over `/sim/registered`; moto has no health checks, so that those say how an instance is."""

import collections
import json

from moto.core.exceptions import JsonRESTError
from moto.servicediscovery.models import servicediscovery_backends

from .errors import Refused

TARGET = "Route53AutoNaming_v20170314"
# Instances in one answer, where nobody asks for another number.
PAGE = 100


class Api:
    """The operations by name, as `api.Api` has them for ECS."""

    def __init__(self, world):
        self._moto = servicediscovery_backends[world.account][world.region]
        # Of each service. AWS's only grow; moto's is a sum over those that are there.
        self._revisions = collections.Counter()

    def call(self, operation, asked):
        act = getattr(self, operation, None)
        if act is None:
            raise Refused("UnsupportedOperation", f"the simulator does not know {operation}")
        try:
            return act(asked)
        except JsonRESTError as error:
            raise Refused(error.error_type, json.loads(error.get_body())["message"]) from None

    def DiscoverInstances(self, asked):
        found, _ = self._moto.discover_instances(
            asked["NamespaceName"], asked["ServiceName"], asked.get("QueryParameters"), asked.get("OptionalParameters"),
            asked.get("HealthStatus"))
        shown = [{
            "InstanceId": one.instance_id, "NamespaceName": asked["NamespaceName"], "ServiceName": asked["ServiceName"],
            "HealthStatus": one.health_status, "Attributes": dict(one.attributes),
        } for one in found[:asked.get("MaxResults", PAGE)]]
        return {"Instances": shown, **self._revision(asked)}

    def DiscoverInstancesRevision(self, asked):
        self._moto.discover_instances_revision(asked["NamespaceName"], asked["ServiceName"])
        return self._revision(asked)

    def _revision(self, asked):
        return {"InstancesRevision": self._revisions[asked["NamespaceName"], asked["ServiceName"]]}

    # What tests order.

    def service(self, namespace, service):
        """The service's id; both are made where they are not there."""
        known = [one.id for one in self._moto.list_namespaces() if one.name == namespace]
        if not known:
            self._moto.create_http_namespace(namespace, "", "", [])
            known = [one.id for one in self._moto.list_namespaces() if one.name == namespace]
        of = [one.id for one in self._moto.list_services() if (one.name, one.namespace_id) == (service, known[0])]
        return of[0] if of else self._moto.create_service(service, known[0], "", "", {}, {}, {}, [], "HTTP").id

    def register(self, asked):
        service = self.service(asked["namespace"], asked["service"])
        self._revisions[asked["namespace"], asked["service"]] += 1
        self._moto.register_instance(service, asked["id"], "", asked["attributes"])
        if "health" in asked:
            instances = self._moto.list_instances(service)
            next(one for one in instances if one.instance_id == asked["id"]).health_status = asked["health"]
        return {}

    def deregister(self, asked):
        self._revisions[asked["namespace"], asked["service"]] += 1
        self._moto.deregister_instance(self.service(asked["namespace"], asked["service"]), asked["id"])
        return {}
