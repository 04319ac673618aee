variable "container_definitions" {
  description = "The task's containers, as aws_ecs_task_definition takes them: a JSON list, such as jsonencode([...]). Not needed with `injected`."
  type        = string
  default     = "[]"
}

variable "network_mode" {
  description = "awsvpc, bridge or host; as the task definition has it."
  type        = string
  default     = "awsvpc"

  validation {
    condition     = contains(["awsvpc", "bridge", "host"], var.network_mode)
    error_message = "There is no network to mesh: write awsvpc, bridge or host."
  }
}

variable "requires_compatibilities" {
  description = "FARGATE, EC2, EXTERNAL or MANAGED_INSTANCES; as the task definition has it."
  type        = list(string)
  default     = ["FARGATE"]
}

variable "volumes" {
  description = "The task's volumes, as the API writes them (efsVolumeConfiguration and so on): they tell whether NFS must pass, and come back with those of the mesh."
  type        = any
  default     = []
}

variable "control" {
  description = "Where the controller is: https://NAME:PORT, or, on the EC2 instance where it runs, the folder of its socket on the host (awsvpc mode alone)."
  type        = string
  default     = "https://controller.outrigger.internal:15010"
}

variable "pin" {
  description = "sha256:HEX, one or more with commas between: what the sidecar tells the controller at an address by; the controller prints it. Not needed with a folder in `control`, nor with `injected`."
  type        = string
  default     = null

  validation {
    condition     = var.pin == null ? true : can(regex("^sha256:[0-9a-f]{64}(,sha256:[0-9a-f]{64})*$", var.pin))
    error_message = "Write sha256: and 64 hexadecimal digits in lower case, as the controller prints it."
  }
}

variable "image" {
  description = "Image of the sidecar, from a registry that the execution role may read."
  type        = string
  default     = "outrigger-sidecar:0.1.0"
}

variable "capture" {
  description = "transparent, platform, names or explicit. Not set: the label outrigger.capture, else the best that the task can have."
  type        = string
  default     = null

  validation {
    condition     = var.capture == null ? true : contains(["transparent", "platform", "names", "explicit"], var.capture)
    error_message = "Write transparent, platform, names or explicit."
  }
}

variable "names" {
  description = "Who tells the application the names of services: `hosts` (the sidecar, in the shared hosts file) or `zone` (a private hosted zone)."
  type        = string
  default     = "hosts"

  validation {
    condition     = contains(["hosts", "zone"], var.names)
    error_message = "Write hosts or zone."
  }
}

variable "templates" {
  description = "Folder of the templates; not set: those of this version."
  type        = string
  default     = null
}

variable "injected" {
  description = "A task definition that is meshed already (JSON), in place of all above."
  type        = string
  default     = null
}
