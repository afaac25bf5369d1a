#!/bin/sh
# Copies the model of a run from the volume that its Airflow's pipelines share. Needs kubectl alone.
set -eu

usage() {
  cat <<'EOF'
usage: tools/fetch-model.sh [KUBECTL OPTION...] RUN [FOLDER]

Copies the model of the MLPipelineRun RUN into FOLDER (default: the current one) and checks its digest; a pod
that mounts the volume is there meanwhile. Options such as --namespace=NAME, --context=NAME, --kubeconfig=FILE
are kubectl's ($KUBECTL, if set, is the kubectl to use). The pod runs the image of the step that left the model;
$FETCH_IMAGE, if set, is another one that has sleep and tar.
EOF
}
fail() {
  echo "fetch-model: $*" >&2
  exit 1
}

kubectl=${KUBECTL:-kubectl}
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --*=*) kubectl="$kubectl $1"; shift ;;
    -*) fail "write the option $1 as --option=value (fetch-model.sh --help)" ;;
    *) break ;;
  esac
done
[ $# -eq 1 ] || [ $# -eq 2 ] || { usage >&2; exit 2; }
run=$1
folder=${2:-.}

# shellcheck disable=SC2086  # kubectl and its options are words
field() { $kubectl get mlpipelinerun "$run" "--output=jsonpath=$1"; }
uri=$(field '{.status.model.uri}')
digest=$(field '{.status.model.digest}')
[ -n "$uri" ] || fail "run $run has left no model (kubectl get mlpipelinerun $run)"
case $uri in
  pvc://*) ;;
  *) fail "the model is at $uri: fetch it with that storage's own tool" ;;
esac
claim=${uri#pvc://}
path=${claim#*/}
claim=${claim%%/*}
# NAMESPACE/PIPELINE/RUN/STEP/model/..., or without the step where there is but one.
owner=$(echo "$path" | cut -d/ -f4)
image=${FETCH_IMAGE:-}
if [ -z "$image" ]; then
  step=$(field "{.status.steps[?(@.name=='$owner')].pod}")
  [ -n "$step" ] || step=$(field '{.status.steps[0].pod}')
  image=$($kubectl get pod "$step" '--output=jsonpath={.spec.containers[0].image}') ||
    fail "the pod of the step that left the model is gone: name an image that has sleep and tar in \$FETCH_IMAGE"
fi

pod=fetch-model-$(date +%s)-$$
trap '$kubectl delete pod "$pod" --ignore-not-found --wait=false --grace-period=1 >/dev/null' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
$kubectl create --filename=- >/dev/null <<EOF
apiVersion: v1
kind: Pod
metadata: {name: $pod}
spec:
  restartPolicy: Never
  activeDeadlineSeconds: 3600
  automountServiceAccountToken: false
  securityContext:
    runAsNonRoot: true
    runAsUser: 50000
    runAsGroup: 0
    fsGroup: 0
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: fetch
      image: $image
      command: [sleep, "3600"]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: artifacts, mountPath: /artifacts, readOnly: true}]
  volumes:
    - name: artifacts
      persistentVolumeClaim: {claimName: $claim, readOnly: true}
EOF
$kubectl wait --for=condition=Ready "pod/$pod" --timeout=300s >/dev/null
mkdir -p "$folder"
target=$folder/$(basename "$path")
# Not kubectl cp: that ends well also where it was cut off.
$kubectl exec "$pod" -- tar -C "/artifacts/$(dirname "$path")" -cf - "$(basename "$path")" | tar -C "$folder" -xf -
if [ -f "$target" ]; then
  found=$(sha256sum <"$target")
else
  found=$(cd "$target" && find ./* -type f | sed 's|^\./||' | LC_ALL=C sort | tr '\n' '\0' | xargs -0 sha256sum | sha256sum)
fi
[ "sha256:${found%% *}" = "$digest" ] || fail "$target is not what the run left: sha256:${found%% *}, not $digest"
echo "$target"
