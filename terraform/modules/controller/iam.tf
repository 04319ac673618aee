# Roles: what ECS may do to start the task, and what the controller may do.

locals {
  # Only ECS, and only for this account and region: no other service can be talked into using the role.
  trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "${local.arn}:ecs:${local.region}:${local.account}:*" }
      }
    }]
  })
}

module "policy" {
  source = "./policy"

  arn        = local.arn
  region     = local.region
  account    = local.account
  clusters   = local.clusters
  queue      = aws_sqs_queue.events.arn
  names_zone = var.names == null ? [] : [local.names_zone]
  edge_zone  = local.edge ? [local.edge_zone] : []
  cloud_map  = var.cloud_map
  inject     = var.inject == "on"
  pass_roles = var.pass_roles
}

resource "aws_iam_role" "controller" {
  name               = "${var.name}-controller-${local.region}"
  assume_role_policy = local.trust
  tags               = local.tags
}

resource "aws_iam_role_policy" "controller" {
  name   = "controller"
  role   = aws_iam_role.controller.id
  policy = module.policy.json
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution-${local.region}"
  assume_role_policy = local.trust
  tags               = local.tags
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "${local.arn}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}
