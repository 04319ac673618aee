# What must survive a controller: the root of the mesh and the addresses of its services, on EFS.

resource "aws_efs_file_system" "state" {
  encrypted = true
  tags      = merge(local.tags, { Name = "${var.name}-state" })

  lifecycle {
    # With it goes the root: every sidecar would need a new identity, and every task a new pin.
    prevent_destroy = true
  }
}

resource "aws_efs_backup_policy" "state" {
  file_system_id = aws_efs_file_system.state.id

  backup_policy {
    status = "ENABLED"
  }
}

resource "aws_efs_access_point" "state" {
  file_system_id = aws_efs_file_system.state.id
  tags           = local.tags

  posix_user {
    uid = 0
    gid = 0
  }

  root_directory {
    path = "/outrigger"

    creation_info {
      owner_uid   = 0
      owner_gid   = 0
      permissions = "0700"
    }
  }
}

resource "aws_efs_mount_target" "state" {
  count           = length(var.subnets)
  file_system_id  = aws_efs_file_system.state.id
  subnet_id       = var.subnets[count.index]
  security_groups = [aws_security_group.state.id]
}

resource "aws_security_group" "state" {
  name        = "${var.name}-state"
  description = "State of the mesh ${var.name}"
  vpc_id      = var.vpc
  tags        = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "state" {
  security_group_id            = aws_security_group.state.id
  description                  = "The controller alone"
  referenced_security_group_id = aws_security_group.controller.id
  ip_protocol                  = "tcp"
  from_port                    = local.ports.nfs
  to_port                      = local.ports.nfs
}

# Others of the account cannot mount it, whatever their own policies say.
resource "aws_efs_file_system_policy" "state" {
  file_system_id = aws_efs_file_system.state.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = aws_iam_role.controller.arn }
      Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite", "elasticfilesystem:ClientRootAccess"]
      Resource  = aws_efs_file_system.state.arn
      Condition = {
        Bool         = { "aws:SecureTransport" = "true" }
        StringEquals = { "elasticfilesystem:AccessPointArn" = aws_efs_access_point.state.arn }
      }
    }]
  })
}
