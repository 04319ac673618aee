# What happens to tasks and services, told by EventBridge through a queue.

resource "aws_sqs_queue" "events" {
  name = "${var.name}-events"

  # The listing finds what is older.
  message_retention_seconds  = 300
  visibility_timeout_seconds = 30
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true
  tags                       = local.tags
}

resource "aws_cloudwatch_event_rule" "ecs" {
  name        = "${var.name}-ecs"
  description = "Tasks and services of the mesh ${var.name}"
  tags        = local.tags

  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Task State Change", "ECS Service Action", "ECS Deployment State Change"]
    "$or" = [
      { detail = { clusterArn = local.cluster_arns } },
      { resources = [for cluster in local.clusters : { prefix = "${local.arn}:ecs:${local.region}:${local.account}:service/${cluster}/" }] },
    ]
  })
}

resource "aws_cloudwatch_event_target" "queue" {
  rule = aws_cloudwatch_event_rule.ecs.name
  arn  = aws_sqs_queue.events.arn
}

resource "aws_sqs_queue_policy" "events" {
  queue_url = aws_sqs_queue.events.url

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.events.arn
      Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.ecs.arn } }
    }]
  })
}
