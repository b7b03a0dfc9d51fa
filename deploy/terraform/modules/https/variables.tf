variable "name" {
  type        = string
  description = "Name of the address, the certificate and its map."
}

variable "host_name" {
  type        = string
  description = "The hub's host name; users' are below it."
}

variable "labels" {
  type        = map(string)
  description = "Labels of the certificate and its map."
}
