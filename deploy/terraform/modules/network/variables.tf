variable "name" {
  type        = string
  description = "Name of the network, and prefix of the names in it."
}

variable "region" {
  type        = string
  description = "The nodes' region."
}

variable "ranges" {
  type = object({
    nodes    = string
    pods     = string
    services = string
    database = string
  })
  description = "Address ranges in CIDR notation, which do not overlap."
}
