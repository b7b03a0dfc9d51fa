# For a team of some twenty people, or a trial: one zone, one node when nobody works.

module "caesarion" {
  source = "../.."

  project_id          = var.project_id
  region              = var.region
  zones               = ["${var.region}-b"]
  host_name           = var.host_name
  administrators      = var.administrators
  deletion_protection = var.deletion_protection

  pools = {
    core  = { max_nodes = 2 }
    users = { machine_type = "e2-standard-4", max_nodes = 4 }
  }
  database = { tier = "db-g1-small", backups_kept = 7 }
}
