variable "name" {
  type        = string
  description = "Name of the budget."
}

variable "project" {
  type        = string
  description = "The project whose costs count."
}

variable "billing_account" {
  type        = string
  description = "Id of the billing account."
}

variable "amount" {
  type        = number
  description = "Amount for a month, in whole units of the currency."
}

variable "currency" {
  type        = string
  description = "The billing account's currency, such as EUR."
}

variable "emails" {
  type        = list(string)
  description = "Who is told, beside the billing account's administrators."
}
