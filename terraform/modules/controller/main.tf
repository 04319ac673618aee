# The controller as a service of one task, and what it needs: a name, a place for its state, events, rights.

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
  ports    = { control = 15010, admin = 15021, mesh = 15008, nfs = 2049 }
  region   = data.aws_region.here.id
  arn      = "arn:${data.aws_partition.here.partition}"
  account  = data.aws_caller_identity.here.account_id
  clusters = coalesce(var.clusters, [element(split("/", var.cluster), 1)])
  cluster_arns = [
    for cluster in local.clusters : "${local.arn}:ecs:${local.region}:${local.account}:cluster/${cluster}"
  ]
  tags = merge(var.tags, { "outrigger:mesh" = var.name })

  # On an instance it serves the tasks there over a socket too: the kernel tells their processes, the engine their containers.
  placed = var.placement != null
  launch = local.placed ? "EC2" : "FARGATE"
  folder = "/run/outrigger"
  engine = "/var/run/docker.sock"
  shared = local.placed ? { run = local.folder, engine = local.engine } : {}
}

resource "aws_cloudwatch_log_group" "controller" {
  name              = "/outrigger/${var.name}/controller"
  retention_in_days = var.log_retention
  tags              = local.tags
}

resource "aws_ecs_task_definition" "controller" {
  family                   = "${var.name}-controller"
  network_mode             = "awsvpc"
  pid_mode                 = local.placed ? "host" : null
  requires_compatibilities = [local.launch]
  cpu                      = var.cpu
  memory                   = var.memory
  task_role_arn            = aws_iam_role.controller.arn
  execution_role_arn       = aws_iam_role.execution.arn
  tags                     = local.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  volume {
    name = "state"

    efs_volume_configuration {
      file_system_id     = aws_efs_file_system.state.id
      transit_encryption = "ENABLED"

      authorization_config {
        access_point_id = aws_efs_access_point.state.id
        iam             = "ENABLED"
      }
    }
  }

  dynamic "volume" {
    for_each = local.shared
    content {
      name      = volume.key
      host_path = volume.value
    }
  }

  container_definitions = jsonencode([{
    name                   = "controller"
    image                  = var.image
    essential              = true
    readonlyRootFilesystem = false
    stopTimeout            = 30
    portMappings           = [for port in [local.ports.control, local.ports.admin] : { containerPort = port, protocol = "tcp" }]
    linuxParameters        = { capabilities = { drop = ["ALL"] } }
    mountPoints = concat(
      [{ sourceVolume = "state", containerPath = "/var/lib/outrigger", readOnly = false }],
      [for name, path in local.shared : { sourceVolume = name, containerPath = path, readOnly = name == "engine" }],
    )
    environment = [for name, value in {
      OUTRIGGER_PLATFORM      = "ecs"
      OUTRIGGER_MESH          = var.name
      OUTRIGGER_CLUSTERS      = join(",", local.clusters)
      OUTRIGGER_QUEUE         = aws_sqs_queue.events.url
      OUTRIGGER_TRUST_DOMAIN  = var.trust_domain
      OUTRIGGER_SIDECAR_IMAGE = var.sidecar_image
      OUTRIGGER_MESH_TEXT     = var.mesh
      OUTRIGGER_INJECT        = var.inject
      OUTRIGGER_CONTROL_URL   = local.control
      OUTRIGGER_NAMES_ZONE    = var.names == null ? "" : local.names_zone
      OUTRIGGER_NAMES_FOR     = var.names == null ? "" : var.names.for
      OUTRIGGER_EDGE_ZONE     = local.edge ? local.edge_zone : ""
      OUTRIGGER_INJECT_NAMES  = var.names == null ? "" : "zone"
    } : { name = name, value = value } if value != ""]
    healthCheck = {
      command     = ["CMD", "/outrigger-controller", "health"]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 120
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.controller.name
        awslogs-region        = local.region
        awslogs-stream-prefix = "controller"
      }
    }
  }])
}

resource "aws_ecs_service" "controller" {
  name            = "${var.name}-controller"
  cluster         = var.cluster
  task_definition = aws_ecs_task_definition.controller.arn
  launch_type     = local.launch
  propagate_tags  = "SERVICE"
  tags            = local.tags

  # The state has one owner: the old task ends before the new one starts, and sidecars serve on meanwhile.
  desired_count                      = 1
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnets
    security_groups  = [aws_security_group.controller.id]
    assign_public_ip = var.assign_public_ip
  }

  service_registries {
    registry_arn = aws_service_discovery_service.controller.arn
  }

  dynamic "placement_constraints" {
    for_each = var.placement[*]
    content {
      type       = "memberOf"
      expression = placement_constraints.value
    }
  }

  lifecycle {
    precondition {
      condition     = !local.placed || !var.assign_public_ip
      error_message = "A task on an EC2 instance gets no public address: leave assign_public_ip out, and give the subnets a NAT gateway or VPC endpoints."
    }
  }

  depends_on = [aws_efs_mount_target.state, aws_iam_role_policy.controller]
}
