# The controller's name, and who may reach what.

locals {
  namespace = var.namespace != null ? var.namespace : {
    id   = aws_service_discovery_private_dns_namespace.mesh[0].id
    name = var.domain
  }
  control = "https://controller.${local.namespace.name}:${local.ports.control}"

  # Zones that the controller writes: those that are made here, else those that it is given.
  edge       = var.edge_zone != null || var.edge_domain != null
  names_zone = try(aws_route53_zone.made["names"].zone_id, var.names.zone, null)
  edge_zone  = try(aws_route53_zone.made["edge"].zone_id, var.edge_zone)
}

resource "aws_route53_zone" "made" {
  for_each = {
    for whose, domain in { names = try(var.names.domain, null), edge = var.edge_domain } : whose => domain if domain != null
  }
  name          = each.value
  comment       = "Written by the controller of the mesh ${var.name}"
  force_destroy = true # What the controller wrote goes with it.
  tags          = local.tags

  vpc {
    vpc_id = var.vpc
  }

  lifecycle {
    ignore_changes = [vpc] # More of them come by aws_route53_zone_association.
  }
}

resource "aws_service_discovery_private_dns_namespace" "mesh" {
  count = var.namespace == null ? 1 : 0
  name  = var.domain
  vpc   = var.vpc
  tags  = local.tags
}

resource "aws_service_discovery_service" "controller" {
  name = "controller"
  tags = local.tags

  dns_config {
    namespace_id   = local.namespace.id
    routing_policy = "MULTIVALUE"

    # A sidecar looks up anew with every try: seconds decide how soon it finds a controller that has moved.
    dns_records {
      type = "A"
      ttl  = 5
    }
  }
}

# Members of the mesh carry this one: they reach the controller and one another.
resource "aws_security_group" "members" {
  name        = "${var.name}-members"
  description = "Tasks of the mesh ${var.name}"
  vpc_id      = var.vpc
  tags        = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "mesh" {
  security_group_id            = aws_security_group.members.id
  description                  = "Sidecar to sidecar, mutual TLS"
  referenced_security_group_id = aws_security_group.members.id
  ip_protocol                  = "tcp"
  from_port                    = local.ports.mesh
  to_port                      = local.ports.mesh
}

resource "aws_vpc_security_group_egress_rule" "members" {
  security_group_id = aws_security_group.members.id
  description       = "All"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_security_group" "controller" {
  name        = "${var.name}-controller"
  description = "Controller of the mesh ${var.name}"
  vpc_id      = var.vpc
  tags        = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "control" {
  security_group_id            = aws_security_group.controller.id
  description                  = "Sidecars, which prove who they are"
  referenced_security_group_id = aws_security_group.members.id
  ip_protocol                  = "tcp"
  from_port                    = local.ports.control
  to_port                      = local.ports.control
}

resource "aws_vpc_security_group_ingress_rule" "operators" {
  for_each          = toset(var.operators)
  security_group_id = aws_security_group.controller.id
  description       = "Status and metrics, read-only"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = local.ports.admin
  to_port           = local.ports.admin
}

resource "aws_vpc_security_group_egress_rule" "controller" {
  security_group_id = aws_security_group.controller.id
  description       = "The AWS API, the registry, the state"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}
