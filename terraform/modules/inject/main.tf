# Adds the mesh to the containers of a task, as the crate `inject` does: the tests beside compare both. No provider.

terraform {
  required_version = ">= 1.5"
}

locals {
  sidecar = "outrigger-sidecar"
  step    = "outrigger-capture"
  run     = "outrigger-run"
  uid     = "61337"
  ports   = { outbound = 15001, inbound = 15006, mesh = 15008 }

  containers = jsondecode(var.container_definitions)
  fargate    = contains(var.requires_compatibilities, "FARGATE")
  labels = merge([
    for container in local.containers : {
      for label, value in try(container.dockerLabels, {}) : label => value if startswith(label, "outrigger.")
    }
  ]...)
  mode = lookup(local.labels, "outrigger.mode", "permissive")

  # Log routers, and what they wait for, start before the sidecar, whose log goes through them.
  routers = [for container in local.containers : container.name if try(container.firelensConfiguration, null) != null]
  awaited = { for container in local.containers : container.name => [for on in try(container.dependsOn, []) : on.containerName] }
  second  = distinct(concat(local.routers, flatten([for name in local.routers : local.awaited[name]])))
  first   = distinct(concat(local.second, flatten([for name in local.second : local.awaited[name]])))

  mapped = flatten([
    for container in local.containers : [
      for mapping in try(container.portMappings, []) : try(
        mapping.containerPort,
        range(split("-", mapping.containerPortRange)[0], tonumber(split("-", mapping.containerPortRange)[1]) + 1),
        [],
      ) if try(mapping.protocol, null) != "udp"
    ] if !contains(local.routers, container.name)
  ])
  declared = [
    for port in compact(split(",", lookup(local.labels, "outrigger.port", ""))) : tonumber(trimspace(split("/", port)[0]))
  ]
  serves = [for port in sort([for port in distinct(concat(local.mapped, local.declared)) : format("%05d", port)]) : tonumber(port)]

  # docs/decisions/0015-task-definitions.md
  possible = var.network_mode == "awsvpc" ? (
    local.fargate ? ["platform", "names", "explicit"] : ["transparent", "platform", "names", "explicit"]
  ) : ["explicit"]
  unasked = var.network_mode != "awsvpc" ? "explicit" : (
    !local.fargate ? "transparent" : (length(local.serves) > 0 || local.mode == "strict" ? "platform" : "names")
  )
  capture = coalesce(var.capture, lookup(local.labels, "outrigger.capture", null), local.unasked)

  # `cart:8080=9001,redis:6379`: the service, its port, and the local port where that differs.
  upstreams = [
    for said in compact(split(",", lookup(local.labels, "outrigger.upstreams", ""))) : {
      service = split(":", trimspace(said))[0]
      port    = split("=", split(":", trimspace(said))[1])[0]
      local   = reverse(split("=", split(":", trimspace(said))[1]))[0]
    }
  ]
  # Written in the order of the local ports, like the command line does.
  ordered = {
    for to in local.upstreams : format("%05d", tonumber(to.local)) => {
      name  = "OUTRIGGER_UPSTREAM_${upper(replace(to.service, "/[^a-zA-Z0-9]/", "_"))}_${to.port}"
      value = "${var.network_mode == "bridge" ? local.sidecar : "127.0.0.1"}:${to.local}"
    }
  }
  variables = [for variable in values(local.ordered) : variable if local.capture == "explicit"]
  added = {
    for container in local.containers : container.name => [
      for variable in local.variables : variable
      if !contains([for said in try(container.environment, []) : said.name], variable.name)
    ] if !contains(local.first, container.name)
  }

  folder    = coalesce(var.templates, "${path.module}/../../../templates/ecs")
  hosts     = contains(["names", "platform"], local.capture) && var.names == "hosts"
  template  = jsondecode(file("${local.folder}/${local.hosts ? "sidecar-hosts" : "sidecar"}.json"))
  socket    = startswith(var.control, "/")
  labelled  = [for container in local.containers : container if length([for label, _ in try(container.dockerLabels, {}) : label if startswith(label, "outrigger.")]) > 0]
  essential = [for container in local.containers : container if try(container.essential, true) && !contains(local.routers, container.name)]
  app       = concat(local.labelled, local.essential, local.containers)[0]
  log       = try(local.app.logConfiguration, null)
  router    = try(local.log.logDriver, "") == "awsfirelens" ? try(local.routers[0], null) : null

  # What was changed of the user's own fields, so that a later injection begins from these.
  notes = jsonencode({
    containers = {}
    task       = {}
    variables  = { for name, added in local.added : name => added[*].name if length(added) > 0 }
  })

  waiting = [
    for container in local.containers : merge(
      container,
      { for key, name in { dependsOn = local.sidecar } : key => concat(try(container.dependsOn, []), [{ containerName = name, condition = "HEALTHY" }]) if !contains(local.first, container.name) },
      { for key, added in { environment = lookup(local.added, container.name, []) } : key => concat(try(container.environment, []), added) if length(added) > 0 },
      { for key, link in { links = local.sidecar } : key => concat(try(container.links, []), [link]) if var.network_mode == "bridge" && length(local.variables) > 0 && !contains(local.first, container.name) },
    )
  ]

  logs = { for key, log in { logConfiguration = local.log } : key => log if log != null && !can(local.template.logConfiguration) }

  sidecar_container = merge(
    { name = local.sidecar, image = var.image },
    local.template,
    local.logs,
    {
      environment = concat(try(local.template.environment, []), [
        { name = "OUTRIGGER_CONTROL", value = local.socket ? "/run/outrigger/control.sock" : trimsuffix(var.control, "/") },
        ], [
        for pin in [var.pin] : { name = "OUTRIGGER_CONTROL_PIN", value = pin } if pin != null && !local.socket
      ])
      portMappings = [merge(
        { containerPort = local.ports.mesh, protocol = "tcp" },
        { for key, port in { hostPort = var.network_mode == "bridge" ? 0 : local.ports.mesh } : key => port if var.network_mode != "awsvpc" },
      )]
      dockerLabels = merge(try(local.template.dockerLabels, {}), {
        "outrigger.managed"  = "sidecar"
        "outrigger.capture"  = local.capture
        "outrigger.injected" = local.notes
      })
    },
    { for key, mount in { mountPoints = { sourceVolume = local.run, containerPath = "/run/outrigger" } } : key => concat(try(local.template.mountPoints, []), [mount]) if local.socket },
    { for key, on in { dependsOn = concat(
      [for name in [local.step] : { containerName = name, condition = "SUCCESS" } if local.capture == "transparent"],
      [for name in [local.router] : { containerName = name, condition = "START" } if name != null],
    ) } : key => on if length(on) > 0 },
    { for key, control in { systemControls = { namespace = "net.ipv4.ip_unprivileged_port_start", value = "0" } } : key => concat(try(local.template.systemControls, []), [control]) if local.capture == "names" },
  )

  step_template = jsondecode(file("${local.folder}/capture.json"))
  step_container = merge(
    { name = local.step, image = var.image },
    local.step_template,
    { for key, log in local.logs : key => log if local.router == null },
    { dockerLabels = merge(try(local.step_template.dockerLabels, {}), { "outrigger.managed" = "capture" }) },
  )

  nfs = length([for volume in var.volumes : volume if can(volume.efsVolumeConfiguration)]) > 0
  properties = concat(
    [
      { name = "IgnoredUID", value = local.uid },
      { name = "ProxyEgressPort", value = tostring(local.ports.outbound) },
      { name = "EgressIgnoredIPs", value = "169.254.170.2,169.254.169.254" },
    ],
    [for ports in [join(",", local.serves)] : { name = "ProxyIngressPort", value = tostring(local.ports.inbound) } if ports != ""],
    [for ports in [join(",", local.serves)] : { name = "AppPorts", value = ports } if ports != ""],
    [for port in ["2049"] : { name = "EgressIgnoredPorts", value = port } if local.nfs],
  )

  # Of two shapes that differ, so that a condition cannot choose between them.
  result = [for text in [var.injected, jsonencode(local.made)] : jsondecode(text) if text != null][0]
  given  = var.injected != null

  made = {
    containerDefinitions = concat(local.waiting, [local.sidecar_container], [for step in [local.step_container] : step if local.capture == "transparent"])
    proxyConfiguration   = local.capture == "platform" ? { type = "APPMESH", containerName = local.sidecar, properties = local.properties } : null
    volumes              = concat(var.volumes, [for name in [local.run] : { name = name, host = { sourcePath = var.control } } if local.socket])
  }
}
