# What cannot be meshed is refused with the reason, and what is meshed already is passed on.

variables {
  container_definitions = jsonencode([{ name = "app", image = "shop/app:1", dockerLabels = {} }])
  pin                   = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
}

run "no_pin" {
  command = plan

  variables {
    pin = null
  }

  expect_failures = [output.container_definitions]
}

run "not_a_pin" {
  command = plan

  variables {
    pin = "sha1:0011"
  }

  expect_failures = [var.pin]
}

run "strict_in_bridge" {
  command = plan

  variables {
    container_definitions    = jsonencode([{ name = "app", image = "shop/app:1", dockerLabels = { "outrigger.mode" = "strict" } }])
    network_mode             = "bridge"
    requires_compatibilities = ["EC2"]
  }

  expect_failures = [output.container_definitions]
}

run "transparent_on_fargate" {
  command = plan

  variables {
    capture = "transparent"
  }

  expect_failures = [output.container_definitions]
}

run "bridge_on_fargate" {
  command = plan

  variables {
    network_mode = "bridge"
  }

  expect_failures = [output.container_definitions]
}

run "socket_on_fargate" {
  command = plan

  variables {
    control = "/run/outrigger"
  }

  expect_failures = [output.container_definitions]
}

run "meshed_already" {
  command = plan

  variables {
    container_definitions = jsonencode(jsondecode(file("../../../inject/tests/ecs/fargate-service/meshed.json")).containerDefinitions)
  }

  expect_failures = [output.container_definitions]
}

run "too_many" {
  command = plan

  variables {
    container_definitions = jsonencode([for n in range(10) : { name = "app${n}", image = "shop/app:1" }])
  }

  expect_failures = [output.container_definitions]
}

run "injected_elsewhere" {
  command = plan

  variables {
    injected = file("../../../inject/tests/ecs/resources-add/meshed.json")
  }

  assert {
    condition     = output.cpu == "512" && output.memory == "1024" && output.capture == "platform"
    error_message = "${output.cpu} ${output.memory} ${output.capture}"
  }

  assert {
    condition     = jsondecode(output.container_definitions) == jsondecode(file("../../../inject/tests/ecs/resources-add/meshed.json")).containerDefinitions
    error_message = output.container_definitions
  }
}
