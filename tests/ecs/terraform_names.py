"""Holds resources, blocks, arguments and attributes of Terraform files against the schema that a provider published.

    python terraform_names.py SCHEMA FOLDER...

SCHEMA is the folder `lib` of the npm package @cdktf/provider-aws, which is made from the provider's own schema. Prints one
line for each name that it does not know, or that is used and declared nowhere; exits with 1 if there is one."""

import re
import sys
from pathlib import Path

import hcl2

# Terraform's own, in every resource.
META = {"count", "for_each", "depends_on", "lifecycle", "provider", "provisioner", "connection"}
REFERENCE = re.compile(r"\b(data\.)?(aws_[a-z0-9_]+)\.[a-z_]+(?:\[[^\]]*\])?\.([a-z_]+)")


def camel(words):
    first, *rest = re.split("[-_]", words)
    return first + "".join(word.capitalize() for word in rest)


class Schema:
    """What one resource or data source has."""

    def __init__(self, library, kind):
        self.kind = kind
        folder = kind.removeprefix("aws_").replace("_", "-")
        file = library / folder.replace("data.aws-", "data-aws-") / "index.js"
        self.known = file.is_file()
        self.text = file.read_text() if self.known else ""
        self.prefix = camel(file.parent.name)

    def names(self, path):
        """Arguments of the resource, or of the block at `path`; none: there is no such block."""
        if path:
            function = f"function {self.prefix}{''.join(camel('-' + name) for name in path)}ToTerraform(struct)"
        else:
            function = "synthesizeAttributes()"
        begin = self.text.find(function)
        if begin < 0:
            return None
        # One name a line, eight or twelve columns in, to the end of the object.
        return set(re.findall(r"^ +([a-z][a-z0-9_]*): ", self.text[begin : self.text.index("};", begin)], re.M))

    def reads(self, attribute):
        return f"get {camel(attribute)}()" in self.text


def faults_of(schema, path, body, place):
    """Names that a body of HCL has and the schema has not."""
    names = schema.names(path)
    if names is None:
        yield f"{place}: no such block"
        return
    for name, value in body.items():
        if name.startswith("__") or (not path and name in META):
            continue
        if name == "dynamic":
            for block in value:
                for inner, parts in block.items():
                    inner = inner.strip('"')
                    content = parts["content"]
                    yield from blocks(schema, [*path, inner], content, f"{place}.{inner}", names)
        elif name not in names:
            yield f"{place}: unknown argument {name}"
        elif isinstance(value, list) and value and all(isinstance(item, dict) and "__is_block__" in item for item in value):
            yield from blocks(schema, [*path, name], value, f"{place}.{name}", names)


def blocks(schema, path, bodies, place, around):
    if path[-1] not in around:
        yield f"{place}: unknown block"
        return
    for body in bodies:
        yield from faults_of(schema, path, body, place)


def check(library, file):
    text = file.read_text()
    tree = hcl2.loads(text)
    for section, prefix in (("resource", ""), ("data", "data.")):
        for entry in tree.get(section, []):
            for kind, named in entry.items():
                for name, body in named.items():
                    kind, name = kind.strip('"'), name.strip('"')
                    place = f"{file}: {prefix}{kind}.{name}"
                    schema = Schema(library, prefix + kind)
                    if schema.known:
                        yield from faults_of(schema, [], body, place)
                    else:
                        yield f"{place}: unknown kind"
    for data, kind, attribute in REFERENCE.findall(text):
        if not Schema(library, data + kind).reads(attribute):
            yield f"{file}: {data}{kind} has no attribute {attribute}"


def plain(section):
    """Blocks of one label, by name."""
    return {name.strip('"'): body for entry in section for name, body in entry.items()}


class Module:
    """What a folder of Terraform files declares."""

    def __init__(self, folder):
        self.folder = folder
        self.texts = {file: file.read_text() for file in sorted(folder.glob("*.tf"))}
        trees = [hcl2.loads(text) for text in self.texts.values()]
        gathered = lambda section: plain(entry for tree in trees for entry in tree.get(section, []))
        self.variables, self.outputs, self.modules = gathered("variable"), gathered("output"), gathered("module")
        self.locals = {name for tree in trees for entry in tree.get("locals", []) for name in entry}
        self.resources = {
            f"{prefix}{kind}.{name}"
            for section, prefix in (("resource", ""), ("data", "data."))
            for tree in trees
            for entry in tree.get(section, [])
            for kind, named in plain([entry]).items()
            for name in plain([named])
        }

    def called(self, body):
        return Module((self.folder / body["source"].strip('"')).resolve())


def references(module):
    """Names that are used and not declared: what `terraform validate` says where the provider can be had."""
    for file, text in module.texts.items():
        for name in set(re.findall(r"\bvar\.(\w+)", text)) - set(module.variables):
            yield f"{file}: no variable {name}"
        for name in set(re.findall(r"\blocal\.(\w+)", text)) - module.locals:
            yield f"{file}: no local {name}"
        for name in set(re.findall(r"\b((?:data\.)?aws_[a-z0-9_]+\.[a-z_]+)", text)) - module.resources:
            if not f"data.{name}" in module.resources:
                yield f"{file}: no {name}"
        for call, output in set(re.findall(r"\bmodule\.(\w+)\.(\w+)", text)):
            if call not in module.modules or output not in module.called(module.modules[call]).outputs:
                yield f"{file}: no output {output} of a module {call}"
    for name, body in module.modules.items():
        variables = module.called(body).variables
        given = {key for key in body if not key.startswith("__")} - META - {"source", "version", "providers"}
        needed = {variable for variable, of in variables.items() if "default" not in of}
        for fault in sorted(given - set(variables)) + sorted(f"{missing} (needed)" for missing in needed - given):
            yield f"{module.folder}: module {name}: {fault}"


def main():
    library, *folders = map(Path, sys.argv[1:])
    files = [file for folder in folders for file in sorted(folder.rglob("*.tf")) if ".terraform" not in file.parts]
    faults = [fault for file in files for fault in check(library, file)]
    faults += [fault for folder in sorted({file.parent for file in files}) for fault in references(Module(folder))]
    print("\n".join(faults) or f"{len(files)} files hold")
    sys.exit(1 if faults or not files else 0)


main()
