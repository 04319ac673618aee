# Logs of the services, and the role with which ECS pulls their images.

locals {
  log = {
    logDriver = "awslogs"
    options = {
      awslogs-group         = aws_cloudwatch_log_group.shop.name
      awslogs-region        = var.region
      awslogs-stream-prefix = "shop"
    }
  }
}

resource "aws_cloudwatch_log_group" "shop" {
  name              = "/shop"
  retention_in_days = 7
}

resource "aws_iam_role" "execution" {
  name_prefix = "shop-execution-"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}
