variable "name" {
  type        = string
  description = "Name of the repository."
}

variable "region" {
  type        = string
  description = "Where the images are."
}

variable "labels" {
  type        = map(string)
  description = "Labels of the repository."
}

variable "readers" {
  type        = map(string)
  description = "Who may pull: members, by a name."
}

variable "writers" {
  type        = map(string)
  description = "Who may push: members, by a name."
}

variable "project" {
  type        = string
  description = "The project's id."
}
