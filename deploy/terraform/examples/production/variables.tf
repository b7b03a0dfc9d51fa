variable "project_id" {
  type        = string
  description = "Id of the Google Cloud project."
}

variable "region" {
  type        = string
  description = "Region of everything."
  default     = "europe-west1"
}

variable "host_name" {
  type        = string
  description = "The hub's host name."
}

variable "administrators" {
  type        = list(string)
  description = "Who may log in to the bastion: user:ada@example.org, group:..."
}

variable "deletion_protection" {
  type        = bool
  description = "Whether Terraform refuses to delete the cluster."
  default     = true
}

variable "billing_account" {
  type        = string
  description = "Id of the billing account, for the budget."
}

variable "monthly_budget" {
  type        = number
  description = "Amount for a month, in whole units of the billing account's currency."
}

variable "currency" {
  type        = string
  description = "The billing account's currency."
  default     = "EUR"
}

variable "budget_emails" {
  type        = list(string)
  description = "Who is told when the budget is used up."
}
