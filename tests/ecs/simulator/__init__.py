"""A simulator of ECS: its API, its queue of events and its STS, with orders for trouble."""
