variable "arn" {
  description = "What ARNs begin with: arn:aws, arn:aws-cn."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "account" {
  description = "The account."
  type        = string
}

variable "clusters" {
  description = "Names of the ECS clusters."
  type        = list(string)
}

variable "queue" {
  description = "ARN of the queue of events."
  type        = string
}

variable "names_zone" {
  description = "Id of the hosted zone of services' names; none, or one."
  type        = list(string)
  default     = []
}

variable "edge_zone" {
  description = "Id of the hosted zone for callers outside the mesh; none, or one."
  type        = list(string)
  default     = []
}

variable "cloud_map" {
  description = "Names of the Cloud Map namespaces that services are looked up in."
  type        = list(string)
  default     = []
}

variable "inject" {
  description = "It injects into services that carry the tag outrigger:inject."
  type        = bool
  default     = false
}

variable "pass_roles" {
  description = "ARNs of the roles of the services that it injects into."
  type        = list(string)
  default     = []
}
