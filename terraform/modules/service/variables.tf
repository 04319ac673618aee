variable "name" {
  description = "Name of the service, and of its family of task definitions."
  type        = string
}

variable "cluster" {
  description = "ARN of the cluster."
  type        = string
}

variable "container_definitions" {
  description = "The containers without the mesh: a JSON list, such as jsonencode([...])."
  type        = string
}

variable "control" {
  description = "Where the controller is: output `control` of the module controller, or, on the EC2 instance where it runs, the folder of its socket on the host (awsvpc mode alone)."
  type        = string
}

variable "pin" {
  description = "What sidecars tell the controller by: control_pin of `outrigger status --json`. Not needed with a folder in `control`."
  type        = string
  default     = null
}

variable "sidecar_image" {
  description = "Image of the sidecar, from a registry that the account can pull."
  type        = string
}

variable "capture" {
  description = "transparent, platform, names or explicit. Not set: the label outrigger.capture, else the best that the task can have."
  type        = string
  default     = null
}

variable "names" {
  description = "Who tells the application the names of services: `hosts` or `zone`."
  type        = string
  default     = "hosts"
}

variable "launch_type" {
  description = "FARGATE or EC2. With `capacity_providers` it says only which kind of task it is."
  type        = string
  default     = "FARGATE"

  validation {
    condition     = contains(["FARGATE", "EC2"], var.launch_type)
    error_message = "Write FARGATE or EC2."
  }
}

variable "capacity_providers" {
  description = "Capacity providers and their weights, in place of the launch type."
  type        = map(number)
  default     = {}
}

variable "placement" {
  description = "Which EC2 instances its tasks may run on: an expression of the cluster query language. Needed where `control` is a folder: the controller's own instance."
  type        = string
  default     = null
}

variable "network_mode" {
  description = "awsvpc, or on EC2 bridge or host."
  type        = string
  default     = "awsvpc"
}

variable "architecture" {
  description = "X86_64 or ARM64, as the images are."
  type        = string
  default     = "X86_64"
}

variable "cpu" {
  description = "CPU units of the task, the sidecar's 64 among them."
  type        = number
  default     = 256
}

variable "memory" {
  description = "MiB of the task, the sidecar's 64 among them."
  type        = number
  default     = 512
}

variable "desired_count" {
  description = "How many tasks. A number that scaling has changed since stays."
  type        = number
  default     = 2
}

variable "subnets" {
  description = "Ids of the subnets, where the network mode is awsvpc."
  type        = list(string)
  default     = []
}

variable "security_groups" {
  description = "Ids of the task's security groups: output `members` of the module controller, and what outsiders need."
  type        = list(string)
  default     = []
}

variable "assign_public_ip" {
  description = "Tasks on Fargate get public addresses."
  type        = bool
  default     = false
}

variable "target_groups" {
  description = "Load balancers' target groups that reach the application: they are edge ports, where strict takes plaintext."
  type = list(object({
    arn       = string
    container = string
    port      = number
  }))
  default = []
}

variable "execution_role" {
  description = "ARN of the execution role; it can read the images and write the logs."
  type        = string
}

variable "task_policy" {
  description = "What the application may do on AWS: a policy, JSON. The role is made here, since it is also what the task proves itself with."
  type        = string
  default     = null
}

variable "volumes" {
  description = "The task's volumes of the host, name to path: on EC2. Others: write the resources yourself, with the module inject."
  type        = map(string)
  default     = {}
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
