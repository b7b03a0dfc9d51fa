variable "name" {
  type        = string
  description = "Name of the bucket, unique in all of Google Cloud."
}

variable "location" {
  type        = string
  description = "A region, or a multi-region such as EU."
}

variable "retention_days" {
  type        = number
  description = "Days for which a copy cannot be deleted by anyone."
}

variable "delete_after_days" {
  type        = number
  description = "Days after which a copy is deleted."
}

variable "writers" {
  type        = map(string)
  description = "Who may add copies: members, by a name."
}

variable "readers" {
  type        = map(string)
  description = "Who may read them: members, by a name."
}

variable "labels" {
  type        = map(string)
  description = "Labels of the bucket."
}
