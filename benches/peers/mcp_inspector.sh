#!/usr/bin/env bash
# MCP Inspector 2 lists every tool (`--cli --strict`: no warning about a schema) and calls each over stdio; what fails ends this with 1.
#
#   cargo build --release
#   npm install --prefix /tmp/inspector @modelcontextprotocol/inspector
#   INSPECTOR=/tmp/inspector/node_modules/.bin/mcp-inspector benches/peers/mcp_inspector.sh target/release/tallow
set -uo pipefail
binary=$(realpath "$1")
inspector=${INSPECTOR:-mcp-inspector}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cd "$root" || exit 1
export TALLOW_CACHE=$root/cache
failed=0

# ask NAME ARGS...: one request; says what came of it.
ask() {
    local name=$1
    shift
    if ! timeout 120 "$inspector" --cli "$binary" mcp --root "$root" --toolsets all "$@" >out.json 2>err.txt; then
        failed=1
        echo "FAILED  $name: $(head -c 300 err.txt)"
    elif [ -s err.txt ] || grep -q '"isError": true' out.json; then
        failed=1
        echo "FAILED  $name: $(cat err.txt out.json | head -c 300)"
    else
        echo "ok      $name"
    fi
}
call() {
    local name=$1
    shift
    called="$called $name"
    if [ $# -gt 0 ]; then
        ask "$name" --method tools/call --tool-name "$name" --tool-arg "$@"
    else
        ask "$name" --method tools/call --tool-name "$name"
    fi
}
called=""

ask tools/list --strict --method tools/list
listed=$(grep -oE '^ {6}"name": "[a-z_]+"' out.json | cut -d'"' -f4 | sort)
ask resources/list --method resources/list
ask prompts/list --method prompts/list
for n in 1 2 3 4 5 6 7 8; do
    echo "{\"messages\": [{\"role\": \"user\", \"content\": \"add $n and $n\"}, {\"role\": \"assistant\", \"content\": \"$((n + n))\"}]}"
done >rows.jsonl
call check_installation
call list_supported_models
call get_model_info model_name=embedded
call generate_fine_tuning_project project_name=p output_dir=. 'base_model={"type":"custom","model_id":"embedded"}' \
    'training={"stage1_iterations":10,"learning_rate":0.01,"batch_size":2}'
call list_projects
call list_datasets
call preview_dataset path=rows.jsonl masked=true
call describe_config key=training project_path=p
call set_config project_path=p 'values={"training.seed":7}'
call validate_dataset dataset=rows.jsonl
call dataset_stats dataset=rows.jsonl
call plan_training project_path=p
call configure_training_run project_path=p run_name=x 'training_data={"train_dataset":"rows.jsonl"}'
run=$(ls p/runs | head -1)
call start_training project_path=p "run_id=$run" async_mode=false
call wait project_path=p "run_id=$run"
call get_run project_path=p "run_id=$run" points=5
call monitor_training_progress project_path=p "run_id=$run"
call list_runs project_path=p
call evaluate_model project_path=p "run_id=$run" test_dataset=rows.jsonl
call compare_models project_path=p "first={\"run_id\":\"$run\",\"base\":true}" "second={\"run_id\":\"$run\"}" test_dataset=rows.jsonl samples=1
call export_model project_path=p "run_id=$run" export_format=gguf quantization=q8_0 export_path=out.gguf
call generate_text project_path=p "run_id=$run" 'prompt=add 3 and 3' max_new_tokens=8
call configure_training_run project_path=p run_name=y 'training_data={"train_dataset":"rows.jsonl"}'
call stop_training project_path=p "run_id=$(ls p/runs | grep '^y-')" mode=cancel
call list_model_versions project_path=p
call promote_model project_path=p "version=$run"
call delete_run project_path=p "run_id=$(ls p/runs | grep '^y-')"
for tool in $listed; do
    case " $called " in
    *" $tool "*) ;;
    *) failed=1 && echo "FAILED  $tool was never called" ;;
    esac
done
echo "$(echo "$listed" | wc -w) tools listed"
exit $failed
