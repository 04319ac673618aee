# A service of the mesh: a task definition with a sidecar, a role of its own, the service.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40"
    }
  }
}

data "aws_caller_identity" "here" {}
data "aws_partition" "here" {}
data "aws_region" "here" {}

locals {
  # What outsiders reach is told to the mesh on the container that serves it, unless a label of its own says so.
  edges = { for target in var.target_groups : target.container => tostring(target.port)... }
  containers = [
    for container in jsondecode(var.container_definitions) : merge(container, {
      dockerLabels = merge(
        { for name, ports in local.edges : "outrigger.edge" => join(",", distinct(ports)) if name == container.name },
        try(container.dockerLabels, {}),
      )
    })
  ]
  account = data.aws_caller_identity.here.account_id
  arn     = "arn:${data.aws_partition.here.partition}"
}

module "inject" {
  source = "../inject"

  container_definitions    = jsonencode(local.containers)
  network_mode             = var.network_mode
  requires_compatibilities = [var.launch_type]
  volumes                  = [for name, path in var.volumes : { name = name, host = { sourcePath = path } }]
  control                  = var.control
  pin                      = var.pin
  image                    = var.sidecar_image
  capture                  = var.capture
  names                    = var.names
}

# Every task needs a role: the sidecar signs with it who it is. The session that ECS opens for a task carries the task's id.
resource "aws_iam_role" "task" {
  name_prefix = "${substr(var.name, 0, 31)}-task-"
  tags        = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "${local.arn}:ecs:${data.aws_region.here.id}:${local.account}:*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "task" {
  count  = var.task_policy == null ? 0 : 1
  name   = "application"
  role   = aws_iam_role.task.id
  policy = var.task_policy
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  network_mode             = var.network_mode
  requires_compatibilities = [var.launch_type]
  cpu                      = var.cpu
  memory                   = var.memory
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = var.execution_role
  container_definitions    = module.inject.container_definitions
  tags                     = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  dynamic "volume" {
    for_each = { for volume in module.inject.volumes : volume.name => volume.host.sourcePath }
    content {
      name      = volume.key
      host_path = volume.value
    }
  }

  dynamic "proxy_configuration" {
    for_each = module.inject.proxy_configuration[*]
    content {
      type           = proxy_configuration.value.type
      container_name = proxy_configuration.value.containerName
      properties     = { for property in proxy_configuration.value.properties : property.name => property.value }
    }
  }
}

resource "aws_ecs_service" "this" {
  name            = var.name
  cluster         = var.cluster
  task_definition = aws_ecs_task_definition.this.arn
  desired_count   = var.desired_count
  launch_type     = length(var.capacity_providers) == 0 ? var.launch_type : null
  propagate_tags  = "SERVICE"
  tags            = var.tags

  # A first task that waits for the controller is not replaced again and again.
  health_check_grace_period_seconds = length(var.target_groups) > 0 ? 120 : null

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  dynamic "capacity_provider_strategy" {
    for_each = var.capacity_providers
    content {
      capacity_provider = capacity_provider_strategy.key
      weight            = capacity_provider_strategy.value
    }
  }

  dynamic "network_configuration" {
    for_each = var.network_mode == "awsvpc" ? [1] : []
    content {
      subnets          = var.subnets
      security_groups  = var.security_groups
      assign_public_ip = var.assign_public_ip
    }
  }

  dynamic "load_balancer" {
    for_each = var.target_groups
    content {
      target_group_arn = load_balancer.value.arn
      container_name   = load_balancer.value.container
      container_port   = load_balancer.value.port
    }
  }

  dynamic "placement_constraints" {
    for_each = var.placement[*]
    content {
      type       = "memberOf"
      expression = placement_constraints.value
    }
  }

  lifecycle {
    ignore_changes = [desired_count]

    precondition {
      condition     = !startswith(var.control, "/") || var.placement != null
      error_message = "A folder in control is there only on the controller's own instance: say which that is in placement."
    }
  }
}
