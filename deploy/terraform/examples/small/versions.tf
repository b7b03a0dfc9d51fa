terraform {
  required_version = ">= 1.11"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
  }

  # terraform init -backend-config="bucket=..."
  backend "gcs" {
    prefix = "caesarion"
  }
}

provider "google" {
  project = var.project_id
  region  = var.region

  # Budgets belong to a billing account, so Google asks which project calls.
  billing_project       = var.project_id
  user_project_override = true
}
