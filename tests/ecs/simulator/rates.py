"""ECS's published rates: one token bucket for each category of calls, of one account in one Region
(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html, read in November 2026)."""

# Category: (bucket's capacity, tokens a second, operations).
PUBLISHED = {
    "cluster modify": (20, 1, "CreateCluster DeleteCluster PutClusterCapacityProviders UpdateCluster "
                              "UpdateClusterSettings"),
    "cluster read": (50, 20, "DescribeClusters ListClusters"),
    "definition modify": (20, 1, "DeregisterTaskDefinition RegisterTaskDefinition"),
    "definition read": (50, 20, "DescribeTaskDefinition ListTaskDefinitions ListTaskDefinitionFamilies"),
    "tag modify": (20, 10, "TagResource UntagResource"),
    "tag read": (50, 20, "ListTagsForResource"),
    "resource modify": (100, 40, "DeleteAttributes DeregisterContainerInstance ExecuteCommand PutAttributes RunTask "
                                 "StartTask StopTask UpdateContainerAgent UpdateContainerInstancesState"),
    "resource read": (100, 20, "DescribeContainerInstances DescribeTasks ListAttributes ListContainerInstances "
                               "ListTasks"),
    "service modify": (50, 5, "CreateService DeleteService UpdateService"),
    "service read": (100, 20, "DescribeServices ListServices"),
    "service deployment": (50, 20, "DescribeServiceDeployments ListServiceDeployments"),
    "namespace read": (10, 1, "ListServicesByNamespace"),
}


class Rates:
    """The buckets, full at first. `on` is whether an empty one refuses; it is counted either way."""

    def __init__(self, clock):
        self._clock = clock
        self.on = True
        self.category = {
            operation: category for category, (_, _, names) in PUBLISHED.items() for operation in names.split()
        }
        self._tokens = {category: (float(bucket[0]), clock.now()) for category, bucket in PUBLISHED.items()}
        # Lowest level that each bucket had.
        self.lowest = {category: float(bucket[0]) for category, bucket in PUBLISHED.items()}

    def take(self, operation):
        """Takes a token; whether there was one."""
        category = self.category.get(operation)
        if category is None:
            return True
        capacity, rate, _ = PUBLISHED[category]
        tokens, at = self._tokens[category]
        now = self._clock.now()
        tokens = min(float(capacity), tokens + (now - at) * rate)
        had = tokens >= 1.0
        tokens -= 1.0 if had else 0.0
        self._tokens[category] = (tokens, now)
        self.lowest[category] = min(self.lowest[category], tokens)
        return had or not self.on
