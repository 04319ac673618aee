output "control" {
  description = "Where sidecars call: `control` of the modules service and inject, `--control` of outrigger inject ecs."
  value       = local.control
}

output "socket" {
  description = "Folder of the control socket on the controller's instance: `control` of services that run on it (with the same `placement`), in place of the address and the pin. Null on Fargate."
  value       = local.placed ? local.folder : null
}

output "members" {
  description = "Id of the security group that tasks of the mesh carry."
  value       = aws_security_group.members.id
}

output "security_group" {
  description = "Id of the controller's security group."
  value       = aws_security_group.controller.id
}

output "log_group" {
  description = "The controller's log; its line \"control listens\" names the pin."
  value       = aws_cloudwatch_log_group.controller.name
}

output "role" {
  description = "ARN of the controller's task role."
  value       = aws_iam_role.controller.arn
}

output "zones" {
  description = "Ids of the private hosted zones that are made here: `names`, `edge`."
  value       = { for whose, zone in aws_route53_zone.made : whose => zone.zone_id }
}
