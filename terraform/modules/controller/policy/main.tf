# What the controller may do: what `outrigger iam-policy` prints, of the same statements. It asks for no provider.

terraform {
  required_version = ">= 1.5"
}

locals {
  cluster_arns = [for cluster in var.clusters : "${var.arn}:ecs:${var.region}:${var.account}:cluster/${cluster}"]
  in_clusters  = { ArnEquals = { "ecs:cluster" = local.cluster_arns } }

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
      Resource = var.queue
    },
  ]
  # Addresses, and beside each a note of whose it is.
  zones = concat(
    [for zone in var.names_zone : { whose = "", id = zone, kinds = ["A", "TXT"] }],
    [for zone in var.edge_zone : { whose = "Edge", id = zone, kinds = ["A", "AAAA", "TXT"] }],
  )
  names = flatten([
    for zone in local.zones : [
      {
        Sid      = "${zone.whose}Zone"
        Effect   = "Allow"
        Action   = ["route53:GetHostedZone", "route53:ListResourceRecordSets"]
        Resource = "${var.arn}:route53:::hostedzone/${zone.id}"
      },
      {
        Sid       = "${zone.whose}Names"
        Effect    = "Allow"
        Action    = ["route53:ChangeResourceRecordSets"]
        Resource  = "${var.arn}:route53:::hostedzone/${zone.id}"
        Condition = { "ForAllValues:StringEquals" = { "route53:ChangeResourceRecordSetsRecordTypes" = zone.kinds } }
      },
    ]
  ])
  outside = [for namespaces in [var.cloud_map] : {
    Sid       = "Outside"
    Effect    = "Allow"
    Action    = ["servicediscovery:DiscoverInstances", "servicediscovery:DiscoverInstancesRevision"]
    Resource  = "*"
    Condition = { StringEquals = { "servicediscovery:NamespaceName" = namespaces } }
  } if length(namespaces) > 0]
  injects = [
    {
      Sid       = "Move"
      Effect    = "Allow"
      Action    = ["ecs:UpdateService"]
      Resource  = [for cluster in var.clusters : "${var.arn}:ecs:${var.region}:${var.account}:service/${cluster}/*"]
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
      Resource  = "${var.arn}:ecs:${var.region}:${var.account}:task-definition/*"
      Condition = { StringEquals = { "ecs:CreateAction" = "RegisterTaskDefinition" } }
    },
  ]
  passes = [for roles in [var.pass_roles] : {
    Sid       = "PassRoles"
    Effect    = "Allow"
    Action    = ["iam:PassRole"]
    Resource  = roles
    Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
  } if length(roles) > 0]

  statements = concat(
    local.looks, local.names, local.outside,
    # Of several shapes, so that a condition cannot choose between them and nothing.
    [for statement in local.injects : statement if var.inject], [for statement in local.passes : statement if var.inject],
  )
}
