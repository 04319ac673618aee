# Instances of the cluster: the image that AWS recommends for ECS, in a group that the cluster scales.

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
}

resource "aws_iam_role" "instance" {
  name_prefix = "shop-instance-"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "instance" {
  role       = aws_iam_role.instance.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "instance" {
  name_prefix = "shop-"
  role        = aws_iam_role.instance.name
}

resource "aws_security_group" "instance" {
  name        = "shop-instance"
  description = "Instances: nobody calls them"
  vpc_id      = aws_vpc.shop.id
}

resource "aws_vpc_security_group_egress_rule" "instance" {
  security_group_id = aws_security_group.instance.id
  description       = "The AWS API, the registry"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_launch_template" "shop" {
  name_prefix   = "shop-"
  image_id      = data.aws_ssm_parameter.image.value
  instance_type = "t3.medium"

  # Two tasks with addresses of their own fit a t3.medium, with ENI trunking more.
  user_data = base64encode(<<-EOT
    #!/bin/sh
    echo ECS_CLUSTER=${aws_ecs_cluster.shop.name} >> /etc/ecs/ecs.config
  EOT
  )

  iam_instance_profile {
    arn = aws_iam_instance_profile.instance.arn
  }

  # One hop: containers cannot take the instance's role.
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  network_interfaces {
    associate_public_ip_address = true
    security_groups             = [aws_security_group.instance.id]
  }
}

resource "aws_autoscaling_group" "shop" {
  name_prefix         = "shop-"
  min_size            = 2
  max_size            = 6
  vpc_zone_identifier = aws_subnet.shop[*].id

  launch_template {
    id      = aws_launch_template.shop.id
    version = aws_launch_template.shop.latest_version
  }

  tag {
    key                 = "AmazonECSManaged"
    value               = "true"
    propagate_at_launch = true
  }

  lifecycle {
    ignore_changes = [desired_capacity]
  }
}

resource "aws_ecs_capacity_provider" "shop" {
  name = "shop-instances"

  auto_scaling_group_provider {
    auto_scaling_group_arn = aws_autoscaling_group.shop.arn

    managed_scaling {
      status          = "ENABLED"
      target_capacity = 100
    }
  }
}

resource "aws_ecs_cluster_capacity_providers" "shop" {
  cluster_name       = aws_ecs_cluster.shop.name
  capacity_providers = [aws_ecs_capacity_provider.shop.name, "FARGATE"]
}
