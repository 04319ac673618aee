"""STS's GetCallerIdentity. The signature is computed again with botocore from the secret that was issued, over exactly
the headers that the caller signed; ours is never asked."""

import datetime
import hmac
import urllib.parse
from xml.sax.saxutils import escape

import botocore.auth
import botocore.awsrequest
import botocore.credentials

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
# How far a date may be off, as AWS has it.
SKEW = 15 * 60.0
VERSION = "2011-06-15"


class Refused(Exception):
    def __init__(self, code, message, status=403):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class Exactly(botocore.auth.SigV4Auth):
    """Signs the headers that it is told to; botocore on its own leaves some out."""

    def __init__(self, credentials, region, signed):
        super().__init__(credentials, "sts", region)
        self._signed = signed

    def headers_to_sign(self, request):
        import http.client

        chosen = http.client.HTTPMessage()
        for name in self._signed:
            for value in request.headers.get_all(name, []):
                chosen[name] = value
        return chosen


class Sts:
    """Answers for one Region."""

    def __init__(self, world, issuer, calls):
        self.world, self.issuer, self.calls = world, issuer, calls

    def __call__(self, handler, service, _operation, body):
        """For `server.Handler`: (status, body, kind), or None where it is no call of STS."""
        form = urllib.parse.parse_qs(body.decode("latin-1"), keep_blank_values=True)
        if service or not handler.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            return None
        started = self.world.clock.now()
        action = form.get("Action", [""])[0]
        try:
            outcome, answer = "ok", self.answer(handler, action, form, body)
            status = 200
        except Refused as refused:
            outcome, status = refused.code, refused.status
            answer = error(refused, self.world.identity())
        self.calls.note(time=started, service="sts", operation=action, outcome=outcome, seconds=0.0, items=0,
                        headers={name.lower(): value for name, value in handler.headers.items()
                                 if name.lower() not in ("authorization", "x-amz-security-token")})
        return status, answer.encode(), "text/xml"

    def answer(self, handler, action, form, body):
        if handler.command != "POST" or action != "GetCallerIdentity" or form.get("Version") != [VERSION]:
            raise Refused("InvalidAction", f"Could not find operation {action}", 400)
        issued = self.verified(handler, body)
        role = issued["RoleArn"]
        partition, account, name = role.split(":")[1], role.split(":")[4], role.rsplit("/", 1)[-1]
        session = issued["session"]
        fields = {
            "Arn": f"arn:{partition}:sts::{account}:assumed-role/{name}/{session}",
            "UserId": f"AROA{account}EXAMPL:{session}",
            "Account": account,
        }
        inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
        return (f'<GetCallerIdentityResponse xmlns="{NAMESPACE}">\n<GetCallerIdentityResult>{inner}'
                f"</GetCallerIdentityResult>\n<ResponseMetadata><RequestId>{self.world.identity()}</RequestId>"
                "</ResponseMetadata>\n</GetCallerIdentityResponse>\n")

    def verified(self, handler, body):
        """What was issued to the caller, once everything that it signed holds."""
        headers = handler.headers
        said = authorization(headers.get("Authorization", ""))
        scope = said["Credential"].split("/")
        signed = said["SignedHeaders"].split(";")
        date = headers.get("X-Amz-Date", "")
        if len(scope) != 5 or scope[4] != "aws4_request" or not date:
            raise Refused("IncompleteSignature", "Credential or date is not as it should be.", 400)
        if len(headers.get_all("Authorization")) != 1 or len(headers.get_all("X-Amz-Date")) != 1:
            raise Refused("IncompleteSignature", "A header comes twice.", 400)
        issued = self.issuer.issued.get(scope[0])
        if issued is None or issued["revoked"] or headers.get("X-Amz-Security-Token") != issued["Token"]:
            raise Refused("InvalidClientTokenId", "The security token included in the request is invalid.")
        if issued["ends"] <= self.world.clock.now():
            raise Refused("ExpiredToken", "The security token included in the request is expired")
        self.dated(date, scope)
        unsigned = {name.lower() for name in headers if name.lower().startswith("x-amz-")} - set(signed)
        if "host" not in signed or unsigned:
            raise Refused("SignatureDoesNotMatch", f"'Host' and every 'X-Amz-…' must be signed; not: {unsigned}")
        credentials = botocore.credentials.Credentials(scope[0], issued["SecretAccessKey"], issued["Token"])
        url = f"http://{headers['Host']}{handler.path}"
        request = botocore.awsrequest.AWSRequest(method="POST", url=url, data=body)
        for name, value in headers.items():
            request.headers[name] = value
        request.context["timestamp"] = date
        sign = Exactly(credentials, scope[2], signed)
        wanted = sign.signature(sign.string_to_sign(request, sign.canonical_request(request)), request)
        if not hmac.compare_digest(wanted, said["Signature"]):
            raise Refused("SignatureDoesNotMatch", "The request signature we calculated does not match the signature "
                          "you provided. Check your AWS Secret Access Key and signing method.")
        return issued

    def dated(self, date, scope):
        try:
            at = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        except ValueError:
            raise Refused("IncompleteSignature", "Date must be in ISO-8601 'basic format'.", 400) from None
        now = self.world.clock.now()
        if at.timestamp() < now - SKEW:
            raise Refused("SignatureDoesNotMatch", f"Signature expired: {date} is more than 15 minutes ago.")
        if at.timestamp() > now + SKEW:
            raise Refused("SignatureDoesNotMatch", f"Signature not yet current: {date} is more than 15 minutes ahead.")
        if scope[1] != date[:8] or scope[3] != "sts":
            raise Refused("SignatureDoesNotMatch", "Credential should be scoped to this date and to service 'sts'.")
        if scope[2] != self.world.region:
            raise Refused("SignatureDoesNotMatch", "Credential should be scoped to a valid region.")


def authorization(text):
    """The parts of the header Authorization."""
    algorithm, _, rest = text.partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if not text:
        raise Refused("MissingAuthenticationToken", "Request is missing Authentication Token")
    if algorithm != "AWS4-HMAC-SHA256" or not {"Credential", "SignedHeaders", "Signature"} <= parts.keys():
        raise Refused("IncompleteSignature", "The Authorization header is not as it should be.", 400)
    return parts


def error(refused, identity):
    return (f'<ErrorResponse xmlns="{NAMESPACE}">\n  <Error>\n    <Type>Sender</Type>\n'
            f"    <Code>{refused.code}</Code>\n    <Message>{escape(refused.message)}</Message>\n  </Error>\n"
            f"  <RequestId>{identity}</RequestId>\n</ErrorResponse>\n")
