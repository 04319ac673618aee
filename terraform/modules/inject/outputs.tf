output "container_definitions" {
  description = "The containers with those of the mesh: container_definitions of aws_ecs_task_definition."
  value       = jsonencode(local.result.containerDefinitions)

  precondition {
    condition     = local.given || contains(local.possible, local.capture)
    error_message = "Capture ${local.capture} is not there: a Fargate task may have platform, names or explicit; bridge and host mode have explicit alone."
  }
  precondition {
    condition     = local.given || local.mode != "strict" || contains(["platform", "transparent"], local.capture)
    error_message = "Strict cannot be enforced with capture ${local.capture}, where calls from outside pass the sidecar by: take network mode awsvpc with platform or transparent, or mode permissive."
  }
  precondition {
    condition     = local.given || !local.fargate || var.network_mode == "awsvpc"
    error_message = "Fargate has network mode awsvpc alone."
  }
  precondition {
    condition     = local.given || !local.fargate || !local.socket
    error_message = "A Fargate task sees no folder of the host: give the controller's address in control."
  }
  precondition {
    condition     = local.given || local.socket || var.pin != null
    error_message = "A sidecar takes orders only from a controller that it can tell from another: give the controller's pin (control_pin in outrigger status --json)."
  }
  precondition {
    condition     = local.given || length([for container in local.containers : container if contains([local.sidecar, local.step], container.name)]) == 0
    error_message = "A container has a name of the mesh: give the definition without the mesh, or the meshed one as `injected`."
  }
  precondition {
    condition     = length(local.result.containerDefinitions) <= 10
    error_message = "With the mesh there are more than the 10 containers that ECS allows."
  }
}

output "proxy_configuration" {
  description = "proxy_configuration of aws_ecs_task_definition: type, containerName, properties; null where the platform redirects nothing."
  value       = try(local.result.proxyConfiguration, null)
}

output "volumes" {
  description = "The volumes with that of the mesh, as the API writes them."
  value       = try(local.result.volumes, [])
}

output "capture" {
  description = "How the task's traffic is captured."
  value       = [for container in local.result.containerDefinitions : container.dockerLabels["outrigger.capture"] if container.name == local.sidecar][0]
}

output "cpu" {
  description = "The task's CPU, where `injected` says it."
  value       = try(local.result.cpu, null)
}

output "memory" {
  description = "The task's memory, where `injected` says it."
  value       = try(local.result.memory, null)
}
