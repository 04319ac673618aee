# What this module makes is what the crate `inject` makes: both are held against the same files.

variables {
  pin = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
}

run "fargate_service" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/fargate-service/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["FARGATE"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/fargate-service/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/fargate-service/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/fargate-service/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "fargate_client" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/fargate-client/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["FARGATE"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/fargate-client/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/fargate-client/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/fargate-client/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "fargate_client_udp" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/fargate-client-udp/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["FARGATE"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/fargate-client-udp/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/fargate-client-udp/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/fargate-client-udp/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "fargate_range" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/fargate-range/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["FARGATE"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/fargate-range/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/fargate-range/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/fargate-range/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "fargate_client_zone" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/fargate-client-zone/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["FARGATE"]
    names                    = "zone"
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/fargate-client-zone/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/fargate-client-zone/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/fargate-client-zone/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "fargate_strict" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/fargate-strict/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["FARGATE"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/fargate-strict/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/fargate-strict/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/fargate-strict/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "ec2_awsvpc" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/ec2-awsvpc/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["EC2"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/ec2-awsvpc/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/ec2-awsvpc/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/ec2-awsvpc/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "ec2_socket" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/ec2-socket/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["EC2"]
    volumes                  = jsondecode(file("../../../inject/tests/ecs/ec2-socket/task.json")).volumes
    control                  = "/run/outrigger"
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/ec2-socket/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/ec2-socket/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/ec2-socket/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "bridge" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/bridge/task.json")).containerDefinitions)
    network_mode             = "bridge"
    requires_compatibilities = ["EC2"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/bridge/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/bridge/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/bridge/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "host" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/host/task.json")).containerDefinitions)
    network_mode             = "host"
    requires_compatibilities = ["EC2"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/host/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/host/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/host/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "firelens" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/firelens/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["FARGATE"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/firelens/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/firelens/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/firelens/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "efs" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/efs/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["FARGATE"]
    volumes                  = jsondecode(file("../../../inject/tests/ecs/efs/task.json")).volumes
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/efs/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/efs/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/efs/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "several_containers" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/several-containers/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["FARGATE"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/several-containers/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/several-containers/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/several-containers/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "managed_instances" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/managed-instances/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["MANAGED_INSTANCES"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/managed-instances/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/managed-instances/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/managed-instances/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "external" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/external/task.json")).containerDefinitions)
    network_mode             = "bridge"
    requires_compatibilities = ["EXTERNAL"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/external/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/external/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/external/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "batch" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/batch/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["FARGATE"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/batch/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/batch/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/batch/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "restart_policy" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/restart-policy/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["FARGATE"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/restart-policy/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/restart-policy/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/restart-policy/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}

run "gpu" {
  command = plan

  variables {
    container_definitions    = jsonencode(jsondecode(file("../../../inject/tests/ecs/gpu/task.json")).containerDefinitions)
    network_mode             = "awsvpc"
    requires_compatibilities = ["EC2"]
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/gpu/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }

  assert {
    condition     = jsonencode(output.proxy_configuration) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/gpu/meshed.json")).proxyConfiguration, null))
    error_message = jsonencode(output.proxy_configuration)
  }

  assert {
    condition     = jsonencode(output.volumes) == jsonencode(try(jsondecode(file("../../../inject/tests/ecs/gpu/meshed.json")).volumes, []))
    error_message = jsonencode(output.volumes)
  }
}
