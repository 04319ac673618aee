# A whole mesh on EC2 instances (the controller itself runs on Fargate, unless it is given a `placement`): a network, a cluster, the controller, `web` behind a load balancer, and `cart`, which only
# the mesh reaches. First `terraform apply -target=module.controller`, then with the pin that the controller has logged.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40"
    }
  }
}

provider "aws" {
  region = var.region
}

resource "aws_ecs_cluster" "shop" {
  name = "shop"
}

module "controller" {
  source = "../../modules/controller"

  name             = "shop"
  cluster          = aws_ecs_cluster.shop.arn
  vpc              = aws_vpc.shop.id
  subnets          = aws_subnet.shop[*].id
  assign_public_ip = true
  image            = var.controller_image
  sidecar_image    = var.sidecar_image
  trust_domain     = "shop.internal"
  domain           = "shop.internal"
  mesh             = file("${path.module}/mesh.yaml")
}

module "web" {
  source = "../../modules/service"

  name               = "web"
  cluster            = aws_ecs_cluster.shop.arn
  control            = module.controller.control
  pin                = var.pin
  sidecar_image      = var.sidecar_image
  execution_role     = aws_iam_role.execution.arn
  subnets            = aws_subnet.tasks[*].id
  security_groups    = [module.controller.members, aws_security_group.web.id]
  launch_type        = "EC2"
  capacity_providers = { (aws_ecs_capacity_provider.shop.name) = 1 }
  target_groups      = [{ arn = aws_lb_target_group.web.arn, container = "web", port = 8080 }]

  container_definitions = jsonencode([{
    name             = "web"
    image            = var.web_image
    essential        = true
    portMappings     = [{ containerPort = 8080 }]
    environment      = [{ name = "CART", value = "http://cart:8080" }]
    dockerLabels     = { "outrigger.port" = "8080/http" }
    logConfiguration = local.log
  }])

  depends_on = [aws_lb_listener.web]
}

module "cart" {
  source = "../../modules/service"

  name               = "cart"
  cluster            = aws_ecs_cluster.shop.arn
  control            = module.controller.control
  pin                = var.pin
  sidecar_image      = var.sidecar_image
  execution_role     = aws_iam_role.execution.arn
  subnets            = aws_subnet.tasks[*].id
  security_groups    = [module.controller.members]
  launch_type        = "EC2"
  capacity_providers = { (aws_ecs_capacity_provider.shop.name) = 1 }

  container_definitions = jsonencode([{
    name             = "cart"
    image            = var.cart_image
    essential        = true
    portMappings     = [{ containerPort = 8080 }]
    dockerLabels     = { "outrigger.port" = "8080/http" }
    logConfiguration = local.log
  }])
}

output "address" {
  description = "Where `web` answers."
  value       = "http://${aws_lb.web.dns_name}"
}

output "controller_log" {
  description = "Where the controller's pin is logged."
  value       = module.controller.log_group
}
