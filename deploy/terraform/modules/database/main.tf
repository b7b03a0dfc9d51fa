# PostgreSQL for the hub and the gateway, with a private address only. Its user is created by
# gcloud (docs/deploy.md), so that no password is in Terraform's state.

resource "google_sql_database_instance" "this" {
  name             = var.name
  region           = var.region
  database_version = "POSTGRES_17"

  # Both are checked before anything is deleted: by Terraform, and by Google.
  deletion_protection = true
  settings {
    deletion_protection_enabled = true

    edition           = "ENTERPRISE"
    tier              = var.tier
    availability_type = var.high_availability ? "REGIONAL" : "ZONAL"
    disk_type         = "PD_SSD"
    disk_size         = var.disk_gb
    disk_autoresize   = true
    user_labels       = var.labels

    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      start_time                     = "02:00" # UTC
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = min(var.backups_kept, 7) # Google's most
      backup_retention_settings {
        retained_backups = var.backups_kept
        retention_unit   = "COUNT"
      }
    }

    # Backups outlive the instance, should it be deleted by other means.
    retain_backups_on_delete = true
    final_backup_config {
      enabled        = true
      retention_days = 30
    }

    insights_config {
      query_insights_enabled  = true
      record_application_tags = false
      record_client_address   = false
    }

    maintenance_window {
      day          = 7
      hour         = 3
      update_track = "stable"
    }

    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }

    database_flags {
      name  = "log_connections"
      value = "on"
    }

    database_flags {
      name  = "log_disconnections"
      value = "on"
    }

    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }

    database_flags {
      name  = "log_temp_files"
      value = "0"
    }
  }

  lifecycle {
    prevent_destroy = true
    ignore_changes  = [settings[0].disk_size] # it grows by itself
  }
}

resource "google_sql_database" "this" {
  for_each = toset(["hub", "gateway"])

  name     = each.value
  instance = google_sql_database_instance.this.name

  lifecycle {
    prevent_destroy = true
  }
}
