variable "region" {
  description = "The region."
  type        = string
  default     = "eu-central-1"
}

variable "controller_image" {
  description = "Image of the controller, in a registry of yours."
  type        = string
}

variable "sidecar_image" {
  description = "Image of the sidecar, in a registry of yours."
  type        = string
}

variable "web_image" {
  description = "Image of `web`: it listens on port 8080 and calls what CART names."
  type        = string
}

variable "cart_image" {
  description = "Image of `cart`: it listens on port 8080."
  type        = string
}

variable "pin" {
  description = "The controller's pin, which it logs when it starts: sha256:…. Left out in the first apply, of module.controller alone."
  type        = string
  default     = null
}
