# The policy is the one that `outrigger iam-policy` prints: both are held against the same files.

variables {
  arn      = "arn:aws"
  region   = "eu-west-1"
  account  = "111122223333"
  clusters = ["shop"]
  queue    = "arn:aws:sqs:eu-west-1:111122223333:outrigger"
}

run "all" {
  command = plan

  variables {
    names_zone = ["Z01"]
    edge_zone  = ["Z02"]
    cloud_map  = ["shop.internal"]
    inject     = true
    pass_roles = ["arn:aws:iam::111122223333:role/cart", "arn:aws:iam::111122223333:role/execution"]
  }

  assert {
    condition     = jsonencode({ for one in jsondecode(output.json).Statement : one.Sid => one }) == jsonencode({ for one in jsondecode(file("../../../../cli/tests/policy/all.json")).Statement : one.Sid => one })
    error_message = output.json
  }
}

run "look" {
  command = plan

  variables {
    clusters = ["shop", "batch"]
  }

  assert {
    condition     = jsonencode({ for one in jsondecode(output.json).Statement : one.Sid => one if one.Sid != "Events" }) == jsonencode({ for one in jsondecode(file("../../../../cli/tests/policy/look.json")).Statement : one.Sid => one })
    error_message = output.json
  }
}

run "china" {
  command = plan

  variables {
    arn    = "arn:aws-cn"
    region = "cn-north-1"
    inject = true
  }

  assert {
    condition     = jsonencode({ for one in jsondecode(output.json).Statement : one.Sid => one if one.Sid != "Events" }) == jsonencode({ for one in jsondecode(file("../../../../cli/tests/policy/china.json")).Statement : one.Sid => one })
    error_message = output.json
  }
}
