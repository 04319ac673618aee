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
  in_clusters = { ArnEquals = { "ecs:cluster" = local.cluster_arns } }

  looks = [
    {
      Sid      = "Definitions"
      Effect   = "Allow"
      Action   = ["ecs:DescribeTaskDefinition"]
      Resource = "*"
    },
    {
      Sid      = "Clusters"
      Effect   = "Allow"
      Action   = ["ecs:DescribeClusters"]
      Resource = local.cluster_arns
    },
    {
      Sid       = "Look"
      Effect    = "Allow"
      Action    = ["ecs:ListTasks", "ecs:ListServices", "ecs:DescribeTasks", "ecs:DescribeServices"]
      Resource  = "*"
      Condition = local.in_clusters
    },
    {
      Sid      = "Events"
      Effect   = "Allow"
      Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage"]
      Resource = aws_sqs_queue.events.arn
    },
  ]
  # Addresses, and beside each a note of whose it is.
  zones = concat(
    var.names == null ? [] : [{ whose = "", id = local.names_zone, kinds = ["A", "TXT"] }],
    !local.edge ? [] : [{ whose = "Edge", id = local.edge_zone, kinds = ["A", "AAAA", "TXT"] }],
  )
  names = flatten([
    for zone in local.zones : [
      {
        Sid       = "${zone.whose}Zone"
        Effect    = "Allow"
        Action    = ["route53:GetHostedZone", "route53:ListResourceRecordSets"]
        Resource  = "${local.arn}:route53:::hostedzone/${zone.id}"
        Condition = {}
      },
      {
        Sid       = "${zone.whose}Names"
        Effect    = "Allow"
        Action    = ["route53:ChangeResourceRecordSets"]
        Resource  = "${local.arn}:route53:::hostedzone/${zone.id}"
        Condition = { "ForAllValues:StringEquals" = { "route53:ChangeResourceRecordSetsRecordTypes" = zone.kinds } }
      },
    ]
  ])
  outside = length(var.cloud_map) == 0 ? [] : [
    {
      Sid       = "Outside"
      Effect    = "Allow"
      Action    = ["servicediscovery:DiscoverInstances", "servicediscovery:DiscoverInstancesRevision"]
      Resource  = "*"
      Condition = { StringEquals = { "servicediscovery:NamespaceName" = var.cloud_map } }
    },
  ]
  injects = var.inject != "on" ? [] : concat(
    [
      {
        Sid       = "Move"
        Effect    = "Allow"
        Action    = ["ecs:UpdateService"]
        Resource  = [for cluster in local.clusters : "${local.arn}:ecs:${local.region}:${local.account}:service/${cluster}/*"]
        Condition = { StringEquals = { "aws:ResourceTag/outrigger:inject" = "true" } }
      },
      {
        Sid       = "Register"
        Effect    = "Allow"
        Action    = ["ecs:RegisterTaskDefinition"]
        Resource  = "*"
        Condition = { Null = { "aws:RequestTag/outrigger:injected-from" = "false" } }
      },
      {
        Sid       = "TagRevisions"
        Effect    = "Allow"
        Action    = ["ecs:TagResource"]
        Resource  = "${local.arn}:ecs:${local.region}:${local.account}:task-definition/*"
        Condition = { StringEquals = { "ecs:CreateAction" = "RegisterTaskDefinition" } }
      },
    ],
    length(var.pass_roles) == 0 ? [] : [{
      Sid       = "PassRoles"
      Effect    = "Allow"
      Action    = ["iam:PassRole"]
      Resource  = var.pass_roles
      Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
    }],
  )
}

resource "aws_iam_role" "controller" {
  name               = "${var.name}-controller-${local.region}"
  assume_role_policy = local.trust
  tags               = local.tags
}

resource "aws_iam_role_policy" "controller" {
  name   = "controller"
  role   = aws_iam_role.controller.id
  policy = jsonencode({ Version = "2012-10-17", Statement = concat(local.looks, local.names, local.outside, local.injects) })
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
