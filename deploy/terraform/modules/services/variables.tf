variable "budget" {
  type        = bool
  description = "Whether the API for budgets is needed."
}
