# For some hundred people: nodes in three zones, a database with a standby, cheaper nodes and GPUs
# to choose, a CI machine, and a budget.

module "caesarion" {
  source = "../.."

  project_id          = var.project_id
  region              = var.region
  host_name           = var.host_name
  administrators      = var.administrators
  deletion_protection = var.deletion_protection
  release_channel     = "STABLE"

  pools = {
    core       = { machine_type = "e2-standard-4", min_nodes = 2, max_nodes = 6 }
    users      = { machine_type = "e2-standard-16", max_nodes = 20 }
    users_spot = { machine_type = "e2-standard-16", max_nodes = 20 }
    gpu        = {}
  }
  database = {
    tier              = "db-custom-4-15360"
    disk_gb           = 50
    high_availability = true
    backups_kept      = 30
  }
  backups = { retention_days = 30, delete_after_days = 365 }
  ci      = {}
  budget = {
    billing_account = var.billing_account
    amount          = var.monthly_budget
    currency        = var.currency
    emails          = var.budget_emails
  }
}
