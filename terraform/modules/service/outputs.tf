output "capture" {
  description = "How the tasks' traffic is captured."
  value       = module.inject.capture
}

output "task_role" {
  description = "ARN of the tasks' role."
  value       = aws_iam_role.task.arn
}

output "task_definition" {
  description = "ARN of the task definition."
  value       = aws_ecs_task_definition.this.arn
}

output "service" {
  description = "Id of the service."
  value       = aws_ecs_service.this.id
}
