"""Writes Terraform files anew with stand-ins for what only the AWS provider has, so that `terraform apply` evaluates every expression
of theirs offline.

    python terraform_stand_ins.py FROM TO

Each resource becomes a `terraform_data` of the same name that has its arguments as input, blocks as objects; attributes of it, and what
data sources answer, become text that is known after the apply alone, as with AWS."""

import re
import shutil
import sys
from pathlib import Path

# What an attribute has to look like for functions that read it.
LIKE = {"cidr_block": "10.40.0.0/16", "account_id": "111122223333", "partition": "aws"}
DATA = {
    "aws_availability_zones.here.names": '["eu-central-1a", "eu-central-1b"]',
    "aws_region.here.id": '"eu-central-1"',
}
META = {"count", "for_each", "depends_on"}
ARGUMENT = re.compile(r"^\s*(\w+)\s*=(?!=|>)(.*)$", re.S)
BLOCK = re.compile(r'^\s*(?:(dynamic) "(\w+)"|(\w+)) \{$')
ATTRIBUTE = re.compile(r"(?<![\w.])(aws_\w+)\.(\w+)(\[[^\]]*\])?\.(\w+)")
WHOLE = re.compile(r"(?<![\w.])(aws_\w+)\.(\w+)\b(?!\.)")


def like(kind, name, attribute):
    if attribute in LIKE:
        return LIKE[attribute]
    return f"arn:aws:test:eu-central-1:111122223333:{kind}/{name}" if attribute == "arn" else f"{kind}/{name}/{attribute}"


def stand_in(match):
    kind, name, index, attribute = match.groups()
    own, text = f"terraform_data.{kind}__{name}", like(kind, name, attribute)
    if index == "[*]":
        return f'[for one in {own} : "{text}${{substr(one.id, 0, 0)}}"]'
    # Of resources by key each is another one.
    part = "/" + index[2:-2] if index and index[1] == '"' else ""
    return f'"{text}{part}${{substr({own}{index or ""}.id, 0, 0)}}"'


def references(text):
    read = lambda match: DATA.get(".".join(match.groups()), f'"{like(*match.groups())}"')
    text = re.sub(r"\bdata\.(aws_\w+)\.(\w+)\.(\w+)", read, text)
    text = WHOLE.sub(r"terraform_data.\1__\2", ATTRIBUTE.sub(stand_in, text))
    return text.replace(".zone_id", ".id")


def depth(line):
    line = re.sub(r'"(?:[^"\\$]|\\.|\$(?!\{))*"', '""', line)
    line = re.sub(r"(^|\s)#.*$", "", line)
    return sum(line.count(c) for c in "([{") - sum(line.count(c) for c in ")]}")


def statements(lines):
    """Arguments and blocks, each as its lines."""
    found, open_ = [], 0
    for line in lines:
        if open_ == 0 and (not line.strip() or line.strip().startswith("#")):
            continue
        if open_ == 0:
            found.append([])
        found[-1].append(line)
        open_ += depth(line)
    assert open_ == 0, lines
    return found


def fields(lines, indent="    "):
    """A body as the fields of an object."""
    used, out = {}, []
    for lines_ in statements(lines):
        block = BLOCK.match(lines_[0])
        if not block:
            out.append("\n".join(lines_))
            continue
        name = block[2] or block[3]
        used[name] = used.get(name, 0) + 1
        key = name if used[name] == 1 else f"{name}_{used[name]}"
        if not block[1]:
            out.append(f"{indent}{key} = {{\n{fields(lines_[1:-1], indent + '  ')}\n{indent}}}")
            continue
        inner = statements(lines_[1:-1])
        each = ARGUMENT.match("\n".join(next(one for one in inner if "for_each" in one[0])))[2]
        content = next(one for one in inner if one[0].strip() == "content {")
        body = fields(content[1:-1], indent + "  ")
        pairs = f"[for key, value in{each} : {{ key = key, value = value }}]"
        out.append(f"{indent}{key} = [for {name} in {pairs} : {{\n{body}\n{indent}}}]")
    return "\n".join(out)


def resource(kind, name, lines):
    meta, lifecycle, body = [], [], []
    for one in statements(lines):
        argument = ARGUMENT.match(one[0])
        if argument and argument[1] in META:
            meta += one
        elif one[0].strip() == "lifecycle {":
            kept = [line for part in statements(one[1:-1]) if "precondition" in part[0] for line in part]
            lifecycle = ["  lifecycle {", *kept, "  }"] if kept else []
        else:
            body += one
    return [f'resource "terraform_data" "{kind}__{name}" {{', *meta, "  input = {", fields(body), "  }", *lifecycle, "}"]


def file(text):
    out = []
    for lines in statements(text.splitlines()):
        head = re.match(r'^(resource|data|provider) "(\w+)"(?: "(\w+)")? \{', lines[0])
        if head and head[1] == "resource":
            out += resource(head[2], head[3], lines[1:-1])
        elif not head and lines[0] != "terraform {":
            out += lines
    return references("\n".join(out)) + "\n"


def main():
    source, target = map(Path, sys.argv[1:])
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "tests"))
    for path in target.rglob("*.tf"):
        path.write_text(file(path.read_text()))


main()
