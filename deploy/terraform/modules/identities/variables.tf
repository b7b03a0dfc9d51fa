variable "name" {
  type        = string
  description = "Prefix of the accounts' names."
}

variable "project" {
  type        = string
  description = "The project's id."
}
