variable "name" {
  description = "Name of the mesh, and of what is made for it: lower-case letters, digits and -."
  type        = string
  default     = "outrigger"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.name))
    error_message = "Write at most 31 lower-case letters, digits and -, a letter first."
  }
}

variable "cluster" {
  description = "ARN of the cluster in which the controller runs."
  type        = string
}

variable "clusters" {
  description = "Names of the clusters that it meshes, of this account and region. Not set: the one in which it runs."
  type        = list(string)
  default     = null
}

variable "vpc" {
  description = "Id of the VPC."
  type        = string
}

variable "subnets" {
  description = "Ids of the subnets in which the controller may run, at least one; the state can be reached from all of them."
  type        = list(string)

  validation {
    condition     = length(var.subnets) > 0
    error_message = "Name at least one subnet."
  }
}

variable "assign_public_ip" {
  description = "The controller's task gets a public address: needed in a public subnet without a NAT gateway or VPC endpoints."
  type        = bool
  default     = false
}

variable "placement" {
  description = "Which EC2 instance the controller runs on, in place of Fargate: an expression of the cluster query language that one instance fits, such as `attribute:outrigger.controller == true`. It serves the tasks of that instance over a socket as well (output `socket`), and may do there what root may."
  type        = string
  default     = null
}

variable "operators" {
  description = "CIDR blocks from which `outrigger status` and Prometheus may reach the admin port, 15021."
  type        = list(string)
  default     = []
}

variable "image" {
  description = "Image of the controller, from a registry that the account can pull."
  type        = string
}

variable "sidecar_image" {
  description = "Image of the sidecars, which the controller writes into the task definitions that it injects."
  type        = string
}

variable "architecture" {
  description = "X86_64 or ARM64, as the images are."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "Write X86_64 or ARM64."
  }
}

variable "cpu" {
  description = "CPU units of the controller's task."
  type        = number
  default     = 256
}

variable "memory" {
  description = "MiB of the controller's task."
  type        = number
  default     = 512
}

variable "trust_domain" {
  description = "Trust domain of every identity. It is kept in the root's certificate: choose it before the first start."
  type        = string
  default     = "outrigger.internal"
}

variable "mesh" {
  description = "The mesh file, as text: file(\"mesh.yaml\"). A change of it starts the controller anew; the sidecars serve on meanwhile."
  type        = string
  default     = ""

  validation {
    condition     = length(var.mesh) <= 32768
    error_message = "A task definition holds 64 KiB in all: keep the mesh file under 32 KiB, or build an image FROM the controller's with the file at /etc/outrigger/mesh.yaml."
  }
}

variable "domain" {
  description = "Private DNS namespace that is made for the controller, in which it is `controller`. Not needed with `namespace`."
  type        = string
  default     = "outrigger.internal"
}

variable "namespace" {
  description = "A private DNS namespace of Cloud Map that there is already, for the controller's name."
  type        = object({ id = string, name = string })
  default     = null
}

variable "names" {
  description = "Private hosted zone in which the controller keeps the names of services, and for which capture: `platform` or `names`. `domain`: one is made; `zone`: the id of one that there is. Needed only where sidecars cannot write the hosts file."
  type        = object({ zone = optional(string), domain = optional(string), for = optional(string, "platform") })
  default     = null

  validation {
    condition     = var.names == null ? true : (var.names.zone == null) != (var.names.domain == null)
    error_message = "Write one of the two: domain, for a zone that is made, or zone, the id of one that there is."
  }
}

variable "edge_zone" {
  description = "Id of a private hosted zone, another one than in `names`, in which the controller keeps services with edge ports at the addresses of their tasks: for Lambda, and others outside the mesh."
  type        = string
  default     = null

  validation {
    condition     = can(regex("^Z[A-Z0-9]{1,31}$", coalesce(var.edge_zone, "Z00")))
    error_message = "Write the id of a hosted zone: zone_id of aws_route53_zone, such as Z0123456789ABCDEFGHIJ."
  }
}

variable "edge_domain" {
  description = "The same, in a zone that is made: its name, another one than in `names` and `domain`."
  type        = string
  default     = null
}

variable "cloud_map" {
  description = "Names of the Cloud Map namespaces that `cloud-map` in the mesh file names: the controller may look services up there."
  type        = list(string)
  default     = []
}

variable "inject" {
  description = "What the controller may do about services that carry the tag outrigger:inject: `off`, `plan` (says what it would do) or `on`."
  type        = string
  default     = "on"

  validation {
    condition     = contains(["off", "plan", "on"], var.inject)
    error_message = "Write off, plan or on."
  }
}

variable "pass_roles" {
  description = "ARNs of the task and execution roles of the services that it may inject into: registering a revision passes them on. Wildcards are taken; keep them narrow."
  type        = list(string)
  default     = []
}

variable "log_retention" {
  description = "Days for which the controller's log is kept."
  type        = number
  default     = 30
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
