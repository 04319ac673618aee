output "json" {
  description = "The policy."
  value       = jsonencode({ Version = "2012-10-17", Statement = local.statements })
}
