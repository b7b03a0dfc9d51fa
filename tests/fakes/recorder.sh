#!/usr/bin/env bash
# A fake of gcloud, docker, make, kubectl and ansible-playbook: it writes down how it was called, and
# does nothing. It refuses what no line below names, for it cannot know whether that exists.
set -eu
name=$(basename "$0")
echo "$name $*" >> "$CALLS"
case "$name $*" in
  "gcloud auth login" | "gcloud auth application-default login") ;;
  "gcloud auth configure-docker "*-docker.pkg.dev) ;;
  "gcloud config set project "*) ;;
  "gcloud storage buckets create gs://"* | "gcloud storage buckets update gs://"*) ;;
  "gcloud container clusters get-credentials "*) ;;
  "gcloud compute ssh "*" --tunnel-through-iap -- -f -N -D 127.0.0.1:1080") ;;
  "gcloud sql users create caesarion --instance="*) ;;
  "gcloud sql export sql "*) ;;
  "docker push "* | "make images REGISTRY="* | "make .venv/.deploy") ;;
  "kubectl config set-cluster "* | "kubectl get nodes" | "kubectl create namespace "*) ;;
  "kubectl -n "*" create secret generic "*) ;;
  "kubectl -n "*" get secret "*) echo -n "the password" | base64 ;;
  "kubectl apply -f "* | "kubectl -n "*" apply -f "* | "kubectl -n "*" delete -f "*)
    [ -f "${*: -1}" ] || { echo "There is no file ${*: -1}." >&2; exit 1; } ;;
  "ansible-playbook site.yaml") [ -f site.yaml ] && [ -f inventory.yaml ] ;;
  *) echo "The fake $name knows no '$*'." >&2; exit 64 ;;
esac
